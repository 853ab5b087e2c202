//go:build !linux

package runner

func newTimer() (timer, error) { return newGoTimer() }
