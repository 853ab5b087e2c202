// Package trace parses recorded traces and replays them on an engine, comparing every
// field of every result. The suites of package budgettest use it for the vectors, and the
// command "bursar replay" for files.
//
// A trace is a text file with one JSON object per line; lines end in LF or CRLF:
//
//	{"op":"ensure","tenant":T,"budget":B}
//	{"op":"reserve","tenant":T,"cost":C,"as":NAME,"want":W}
//	{"op":"commit","id":NAME,"actual":A,"want":W}
//	{"op":"release","id":NAME,"want":W}
//	{"op":"remaining","tenant":T,"want":W}
//
// W is the recorded result: an outcome, and the amounts that belong to it. Amounts are
// integers of up to 64 bits, in microcents, and are never converted to floating point.
// [Parse] is strict: an unknown field is an error with file and line, because a skipped
// field would be a result that isn't compared.
//
// A trace is replayed on an empty engine whose holds have no deadline.
package trace
