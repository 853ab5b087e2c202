// Package trace reads recorded traces and replays them on an engine, comparing
// every field of every answer. The suites of package budgettest use it for the
// vectors, and the command "bursar replay" for files.
//
// A trace is a text file with one JSON object a line, in either line ending:
//
//	{"op":"ensure","tenant":T,"budget":B}
//	{"op":"reserve","tenant":T,"cost":C,"as":NAME,"want":W}
//	{"op":"commit","id":NAME,"actual":A,"want":W}
//	{"op":"release","id":NAME,"want":W}
//	{"op":"remaining","tenant":T,"want":W}
//
// W is the answer that was recorded: an outcome, and the amounts that belong to
// it. Amounts are whole microcents of up to 64 bits; none passes through
// floating point. [Parse] is strict: what it does not know is an error with file
// and line, because a field that is skipped is an answer that is not compared.
//
// A trace starts on an empty engine whose holds have no deadline.
package trace
