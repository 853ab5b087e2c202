// Package wording writes numbers and names for people: a count with its noun, a name
// that may have blanks in it, a word of a command line. It is internal to Bursar: no
// compatibility is promised.
package wording

import (
	"fmt"
	"strings"
	"unicode"
)

// Count returns n with its noun, which is given in the singular: "1 family",
// "2 families". Of a noun of several words the last one is inflected.
func Count[N ~int | ~int64 | ~uint64](n N, noun string) string {
	return fmt.Sprintf("%d %s", n, Noun(n, noun))
}

// Noun is the noun of Count without the number.
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

// Name returns a name as it stands, or in double quotes if it has a character that
// would blur where it ends.
func Name[S ~string](name S) string {
	if isPlain(string(name)) {
		return string(name)
	}
	return fmt.Sprintf("%q", string(name))
}

// Word returns a text as one word of a shell's command line.
func Word[S ~string](text S) string {
	if isPlain(string(text)) {
		return string(text)
	}
	return "'" + strings.ReplaceAll(string(text), "'", `'\''`) + "'"
}

// Argument is Word for a text that is no flag and no flag's value: "--" goes before it
// if it begins with a dash.
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
