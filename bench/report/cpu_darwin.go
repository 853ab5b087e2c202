package report

import (
	"syscall"
)

// cpuModel is "" where the kernel does not tell.
func cpuModel() string {
	model, err := syscall.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return ""
	}
	return model
}
