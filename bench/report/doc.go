// Package report is what a run of the bench came to, and the forms in which it is
// told: a table for a terminal, JSON, Go benchmark text for benchstat, percentiles
// in HdrHistogram's text form, and one self-contained HTML page.
//
// What belongs here knows nothing of how a run is made: it takes a finished
// [Report] and writes it. All latencies are in microseconds, all amounts in
// microcents, all rates a second.
//
// The page's plots are SVG from html/template: uPlot draws nothing without scripts
// and on paper, and the libraries that draw SVG in Go (gonum/plot, wcharczuk's
// go-chart and its heirs) write fixed sizes and colours, where one page must fit a
// phone, a desktop and the dark, and know no axis of percentiles.
package report
