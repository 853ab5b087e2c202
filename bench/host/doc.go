// Package host is what a run stands on, as far as it decides how fast the run is: this
// machine, and the Redis with its settings. What does not tell is left out, and nothing
// that is told here is a secret.
package host
