package connect

import (
	"cmp"
	"context"
	"crypto/tls"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// remedyOfReply returns the remedy for an error reply.
func remedyOfReply(err error) string {
	switch {
	case redis.IsAuthError(err), redis.HasErrorPrefix(err, "AUTH "):
		return "check the user and the password"
	case redis.IsPermissionError(err):
		return "check the rights of the user"
	case redis.IsLoadingError(err):
		return "wait until it is ready"
	default:
		return "check the address, and the server's log and settings"
	}
}

const checkAddress = "check the address, and that the server runs"

// Diagnose returns the fault of a server that does not answer, and a remedy if TLS or its
// absence is the cause, or else "". found is the text of a client's error, since Sentinel
// and Cluster clients return the errors of the servers that they tried only as text.
func (t Target) Diagnose(ctx context.Context, found string) (better, remedy string) {
	if t.address.tls && endedAfterHandshake(found) {
		found = cmp.Or(t.alert(ctx), found)
	}
	return found, t.remedyOfTLS(found)
}

// endedAfterHandshake reports whether the server has closed a TLS connection after the
// handshake without a reason.
func endedAfterHandshake(found string) bool {
	return !strings.Contains(found, handshaking) && containsAny(found, "EOF", "connection reset", "broken pipe")
}

// alert connects to the first server and returns the alert with which it closes the
// connection, or "". In TLS 1.3 a server refuses a client's certificate after the
// handshake, and a client that writes then may miss the alert.
func (t Target) alert(ctx context.Context) string {
	const timeout = time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	d := dialer{until: ctx, timeout: timeout, secure: t.tlsConfig()}
	conn, err := d.dial(ctx, "tcp", t.address.withPort(t.address.hosts[0]))
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // until the alert, or the end of ctx
		conn.Close()
	}
	if err == nil || !strings.Contains(err.Error(), remoteAlert) {
		return ""
	}
	return err.Error()
}

func (t Target) tlsConfig() *tls.Config {
	switch {
	case t.Sentinel != nil:
		return t.Sentinel.TLSConfig
	case t.Cluster != nil:
		return t.Cluster.TLSConfig
	default:
		return t.Single.TLSConfig
	}
}

const remoteAlert = "remote error: tls: "

func containsAny(found string, parts ...string) bool {
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(found, part) })
}

func (t Target) remedyOfTLS(found string) string {
	switch {
	case t.address.unix:
		return ""
	case !t.address.tls:
		// A server that expects TLS closes the connection, or sends an alert (21, version 3).
		if containsAny(found, "EOF", "connection reset", "broken pipe", `\x15\x03`) {
			return "if this port expects TLS, write " + t.withTLS(true) + "; else " + checkAddress
		}
		return ""
	case containsAny(found, "certificate signed by unknown authority", "certificate is not trusted"):
		return "give the CA that signs the servers with --" + caFlag
	case containsAny(found, "certificate is valid for", "not valid for any names", "doesn't contain any IP SANs", "cannot validate certificate for", "not standards compliant"):
		return "write the address with a host that the server's certificate names"
	case containsAny(found, "certificate has expired or is not yet valid"):
		return "renew the server's certificate, or set this machine's clock"
	case containsAny(found, remoteAlert):
		return t.remedyOfAlert(found)
	case containsAny(found, "does not look like a TLS handshake"):
		return "this port has no TLS: write " + t.withTLS(false) + ", or the port that has"
	case endedAfterHandshake(found):
		return "look at the server's log: it ended the connection after the TLS handshake"
	case containsAny(found, "timeout", "deadline exceeded", "EOF", "connection reset"):
		return "if this port has no TLS, write " + t.withTLS(false) + "; else " + checkAddress
	default:
		return ""
	}
}

// remedyOfAlert returns the remedy if the server has sent an alert.
func (t Target) remedyOfAlert(found string) string {
	switch {
	case !t.certified && containsAny(found, "certificate required", "handshake failure", "bad certificate"):
		return "the server asks for a client's certificate: give --" + certFlag + " and --" + keyFlag
	// "Decrypting" is about a signature: the CA has the right name, but another key.
	case t.certified && containsAny(found, "certificate", "access denied", "error decrypting message"):
		return "the server does not accept the client's certificate of --" + certFlag + ": give one that its CA signs, and that has not expired"
	default:
		return "look at the server's log and at its TLS settings"
	}
}

// withTLS returns the name of the same Redis with or without TLS.
func (t Target) withTLS(secure bool) string {
	t.address.tls = secure
	return t.address.name()
}
