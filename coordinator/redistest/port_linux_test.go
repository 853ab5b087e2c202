package redistest

import "testing"

// A server's port is reserved from its start to its Close, also while it is down.
func TestReservedPort(t *testing.T) {
	t.Parallel()
	server, err := Spawn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	port := server.port
	server.Kill()
	if other, err := reservePort(port); err == nil {
		_ = other.Close()
		t.Error("another process can take the port of a server that is down")
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := reservePort(port)
	if err != nil {
		t.Fatalf("after Close the port is still reserved: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
