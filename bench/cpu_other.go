//go:build !linux && !darwin

package bench

// cpuModel is not known here.
func cpuModel() string { return "" }
