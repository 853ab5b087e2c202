// Package dispatch carries commands to Redis servers and their replies back: workers
// that send the commands of lanes in pipelines, a circuit breaker for each server, a
// bound on how long a command may be in flight, and the meaning of every error.
//
// What belongs here is what needs go-redis. What a lane sends and what it makes of a
// reply belongs to package lane.
package dispatch
