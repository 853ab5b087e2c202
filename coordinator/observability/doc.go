// Package observability contains a Grafana dashboard (board.json) and Prometheus alert
// rules (alerts.yaml) for the metrics of package coordinator, and a Prometheus
// configuration (prometheus.yml) that scrapes a command which exports them. It has no code:
// its tests check that the files match the metrics, as the OpenTelemetry exporter for
// Prometheus names them, and OPERATIONS.md, which explains each alert.
//
// The alert rules have tests of their own, which need promtool:
//
//	promtool check rules coordinator/observability/alerts.yaml
//	promtool test rules coordinator/observability/alerts_test.yaml
package observability
