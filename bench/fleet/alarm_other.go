//go:build !linux

package fleet

func newAlarm() (alarm, error) { return newTimerAlarm() }
