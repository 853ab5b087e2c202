//go:build !linux && !darwin

package host

// cpuModel is not known here.
func cpuModel() string { return "" }
