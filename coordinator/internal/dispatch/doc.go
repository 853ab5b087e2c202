// Package dispatch carries commands to Redis servers and their replies back: workers
// that send the commands of lanes in pipelines, a circuit breaker for each server, a
// bound on how long a command may be in flight, and the meaning of every error.
//
// Code that needs go-redis belongs here. The commands of a lane and its handling of a
// reply belong to package lane.
package dispatch
