// Package wording formats text for people: a count with its noun, a name that may contain
// spaces, a word of a command line. It is internal to Bursar, without a promise of
// compatibility.
package wording

import (
	"fmt"
	"strings"
	"unicode"
)

// Count returns n with the noun, which is given in the singular: "1 family", "2 families".
// If the noun has several words, the last one takes the plural.
func Count[N ~int | ~int64 | ~uint64](n N, noun string) string {
	return fmt.Sprintf("%d %s", n, Noun(n, noun))
}

// Noun returns the noun as in Count, without the number.
func Noun[N ~int | ~int64 | ~uint64](n N, noun string) string {
	if n == 1 {
		return noun
	}
	stem, isY := strings.CutSuffix(noun, "y")
	switch {
	case isY && stem != "" && !strings.ContainsRune("aeiou", rune(stem[len(stem)-1])):
		return stem + "ies"
	case strings.HasSuffix(noun, "s"), strings.HasSuffix(noun, "x"), strings.HasSuffix(noun, "ch"), strings.HasSuffix(noun, "sh"):
		return noun + "es"
	default:
		return noun + "s"
	}
}

// Name returns the name unchanged, or in double quotes if it is empty or has a character,
// such as a space, that would make its end unclear.
func Name[S ~string](name S) string {
	if isPlain(string(name)) {
		return string(name)
	}
	return fmt.Sprintf("%q", string(name))
}

// Word returns the text as one word of a shell command line, in single quotes if needed.
func Word[S ~string](text S) string {
	if isPlain(string(text)) {
		return string(text)
	}
	return "'" + strings.ReplaceAll(string(text), "'", `'\''`) + "'"
}

// Argument is like Word, for a positional argument: it puts "--" before a text that begins
// with a dash.
func Argument[S ~string](text S) string {
	if strings.HasPrefix(string(text), "-") {
		return "-- " + Word(text)
	}
	return Word(text)
}

func isPlain(text string) bool {
	special := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./:=,@%+", r)
	}
	return text != "" && strings.IndexFunc(text, special) < 0
}
