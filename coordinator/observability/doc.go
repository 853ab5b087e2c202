// Package observability is the board for Grafana (board.json) and the alert rules for
// Prometheus (alerts.yaml) that show what package coordinator measures; prometheus.yml
// scrapes a command that exports. It has no code: a test holds the files to the
// instruments, as the OpenTelemetry exporter for Prometheus names them, and to
// OPERATIONS.md, which says what each alert means.
//
// The rules have their own tests, which need promtool:
//
//	promtool check rules coordinator/observability/alerts.yaml
//	promtool test rules coordinator/observability/alerts_test.yaml
package observability
