// Package dispatch sends commands to Redis servers and returns their replies: it has
// workers that send the commands of lanes in pipelines, a circuit breaker for each
// server, a limit on the time that a command may be in flight, and a classification of
// errors.
//
// Code that needs go-redis belongs here. The commands of a lane and its handling of
// replies belong to package lane.
package dispatch
