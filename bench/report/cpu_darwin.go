package report

import (
	"syscall"
)

// cpuModel returns "" if the kernel does not report it.
func cpuModel() string {
	model, err := syscall.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return ""
	}
	return model
}
