// Package report presents the result of a run: as a table, JSON, Go benchmark text for
// benchstat, HdrHistogram percentiles, one self-contained HTML page, and, during the run,
// as a progress line. It writes them to standard output or to files (output.go), and
// describes the machine and the Redis that a run used (environment.go). The table and the
// page are templates, table.txt and page.html, that read the report.
//
// A [Report] has latencies in microseconds, amounts in microcents, and rates per second.
// The package knows nothing of how a run is made.
//
// The page's plots are SVG from html/template. uPlot draws nothing without scripts or on
// paper; the Go libraries that draw SVG (gonum/plot, go-chart) write fixed sizes and
// colours, and have no axis of percentiles, while one page has to fit a phone, a desktop
// and dark mode.
package report
