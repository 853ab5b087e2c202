package simredis

import (
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// The part of Redis' struct library that the scripts use: big-endian integers of up to 8
// bytes, I unsigned and i signed, B for a byte, c for a number of raw bytes. As in Redis,
// every integer passes through a double.

// item is one conversion of a format.
type item struct {
	kind  byte // I, i or c; B is an I of one byte
	bytes int
}

func (s *Server) openStruct() {
	library := s.state.NewTable()
	library.RawSetString("pack", s.state.NewFunction(s.luaPack))
	library.RawSetString("unpack", s.state.NewFunction(s.luaUnpack))
	s.state.SetGlobal("struct", library)
}

// format returns the conversions of a format, which is parsed only once.
func (s *Server) format(state *lua.LState) []item {
	text := state.CheckString(1)
	items, known := s.formats[text]
	if known {
		return items
	}
	if text == "" || text[0] != '>' {
		state.RaiseError("simredis: format %q is not big-endian", text)
	}
	for i := 1; i < len(text); {
		kind, bytes := text[i], 0
		for i++; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
			bytes = 10*bytes + int(text[i]-'0')
		}
		switch {
		case kind == 'B' && bytes == 0:
			items = append(items, item{'I', 1})
		case (kind == 'I' || kind == 'i') && bytes > 0 && bytes <= 8, kind == 'c' && bytes > 0:
			items = append(items, item{kind, bytes})
		default:
			state.RaiseError("simredis: format %q has an unknown conversion", text)
		}
	}
	s.formats[text] = items
	return items
}

func (s *Server) luaPack(state *lua.LState) int {
	packed := make([]byte, 0, 64)
	for i, it := range s.format(state) {
		if it.kind == 'c' {
			text := state.CheckString(i + 2)
			if len(text) < it.bytes {
				state.ArgError(i+2, "string too short")
			}
			packed = append(packed, text[:it.bytes]...)
			continue
		}
		number, bits := float64(state.CheckNumber(i+2)), uint64(0)
		if number < 0 {
			bits = uint64(int64(number))
		} else {
			bits = uint64(number)
		}
		for shift := 8 * (it.bytes - 1); shift >= 0; shift -= 8 {
			packed = append(packed, byte(bits>>shift))
		}
	}
	state.Push(lua.LString(packed))
	return 1
}

func (s *Server) luaUnpack(state *lua.LState) int {
	items, text, at := s.format(state), state.CheckString(2), state.OptInt(3, 1)-1
	for _, it := range items {
		if at < 0 || at+it.bytes > len(text) {
			state.ArgError(2, "data string too short")
		}
		part := text[at : at+it.bytes]
		at += it.bytes
		if it.kind == 'c' {
			state.Push(lua.LString(part))
			continue
		}
		bits := uint64(0)
		for i := range len(part) {
			bits = bits<<8 | uint64(part[i])
		}
		if width := 64 - 8*it.bytes; it.kind == 'i' {
			state.Push(lua.LNumber(int64(bits<<width) >> width))
		} else {
			state.Push(lua.LNumber(bits))
		}
	}
	state.Push(lua.LNumber(at + 1))
	return len(items) + 1
}

// glob reports whether a pattern of *, ?, sets like [^h] and escaped characters matches
// a text.
func glob(pattern, text string) (bool, error) {
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			for from := range len(text) + 1 {
				if matches, err := glob(pattern[i+1:], text[from:]); matches || err != nil {
					return matches, err
				}
			}
			return false, nil
		case '[':
			set, rest, closed := strings.Cut(pattern[i+1:], "]")
			set, not := strings.CutPrefix(set, "^")
			if !closed || strings.ContainsAny(set, `-\`) {
				return false, fmt.Errorf("ERR simredis: pattern %q has a range", pattern)
			}
			if text == "" || strings.Contains(set, text[:1]) == not {
				return false, nil
			}
			return glob(rest, text[1:])
		default:
			if c == '\\' && i+1 < len(pattern) {
				i++
				c = pattern[i]
			} else if c == '?' && text != "" {
				c = text[0]
			}
			if text == "" || text[0] != c {
				return false, nil
			}
			text = text[1:]
		}
	}
	return text == "", nil
}
