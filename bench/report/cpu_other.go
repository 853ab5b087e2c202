//go:build !linux && !darwin

package report

// cpuModel returns "": it is unknown here.
func cpuModel() string { return "" }
