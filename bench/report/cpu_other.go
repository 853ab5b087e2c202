//go:build !linux && !darwin

package report

// cpuModel is not known here.
func cpuModel() string { return "" }
