package simredis

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"sync"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// Server runs commands on a store. It must be used by one goroutine.
type Server struct {
	Store *Store
	// Now is the server's clock, in milliseconds.
	Now int64
	// Full puts the server past maxmemory: it rejects scripts that do not allow that.
	Full bool
	// Seed is that of the hash function that orders HSCAN. Each Redis process has
	// another.
	Seed uint64
	// ScanFields is the number of fields that HSCAN visits; 0 leaves that to its COUNT.
	ScanFields int

	state   *lua.LState
	scripts map[string]*script // sent to this server, by SHA
	formats map[string][]item  // parsed formats of struct
}

// script is compiled once for all servers of a process.
type script struct {
	proto    *lua.FunctionProto
	allowOOM bool
}

// Error is an error reply.
type Error string

func (e Error) Error() string { return string(e) }

// RedisError marks it as a reply, like go-redis' own errors.
func (Error) RedisError() {}

// NewServer returns a server with an empty store and no scripts.
func NewServer() *Server {
	s := &Server{Store: NewStore(), scripts: make(map[string]*script), formats: make(map[string][]item)}
	s.state = lua.NewState(lua.Options{SkipOpenLibs: true, RegistrySize: 1024 * 8, RegistryMaxSize: 1024 * 64})
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenTable, lua.OpenString, lua.OpenMath} {
		s.state.Push(s.state.NewFunction(open))
		s.state.Call(0, 0)
	}
	table := s.state.NewTable()
	table.RawSetString("call", s.state.NewFunction(s.luaCall))
	table.RawSetString("pcall", s.state.NewFunction(s.luaCall))
	s.state.SetGlobal("redis", table)
	identity := s.state.NewTable()
	identity.RawSetString("__tostring", s.state.NewFunction(func(state *lua.LState) int {
		state.Push(lua.LString("table: " + strconv.FormatUint(s.Seed, 16)))
		return 1
	}))
	table.Metatable = identity
	s.openStruct()
	return s
}

// Forget is SCRIPT FLUSH.
func (s *Server) Forget() { clear(s.scripts) }

// Do runs a command, given as a client would send it. Its error is an Error with the text
// that a real server would return.
func (s *Server) Do(args []string) (any, error) {
	switch name := strings.ToLower(args[0]); name {
	case "eval":
		known, err := s.learn(args[1])
		if err != nil {
			return nil, Error("ERR Error compiling script: " + err.Error())
		}
		return s.run(known, args)
	case "evalsha":
		known, ok := s.scripts[args[1]]
		if !ok {
			return nil, Error("NOSCRIPT No matching script. Please use EVAL.")
		}
		return s.run(known, args)
	default:
		if s.Full {
			return nil, Error("OOM command not allowed when used memory > 'maxmemory'.")
		}
		reply, err := s.call(append([]string{name}, args[1:]...))
		if err != nil {
			return nil, Error(err.Error())
		}
		return reply, nil
	}
}

// compiled are the scripts of the process: compiling one takes longer than running it a
// hundred times.
var (
	compiled = make(map[string]*script)
	mutex    sync.Mutex
)

// learn compiles a script and stores it by its SHA.
func (s *Server) learn(source string) (*script, error) {
	sum := sha1.Sum([]byte(source))
	sha := hex.EncodeToString(sum[:])
	known, err := compile(sha, source)
	if err == nil {
		s.scripts[sha] = known
	}
	return known, err
}

func (s *Server) run(known *script, args []string) (any, error) {
	if s.Full && !known.allowOOM {
		return nil, Error("OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'")
	}
	keys, err := strconv.Atoi(args[2])
	if err != nil || keys < 0 || 3+keys > len(args) {
		return nil, Error("ERR value is not an integer or out of range")
	}
	s.state.SetGlobal("KEYS", s.list(args[3:3+keys]))
	s.state.SetGlobal("ARGV", s.list(args[3+keys:]))
	s.state.Push(s.state.NewFunctionFromProto(known.proto))
	if err := s.state.PCall(0, 1, nil); err != nil {
		return nil, Error("ERR " + strings.SplitN(err.Error(), "\n", 2)[0] + " script: " + args[1])
	}
	reply := s.state.Get(-1)
	s.state.Pop(1)
	return fromLua(reply), nil
}

func (s *Server) list(words []string) *lua.LTable {
	table := s.state.CreateTable(len(words), 0)
	for i, word := range words {
		table.RawSetInt(i+1, lua.LString(word))
	}
	return table
}

// luaCall is redis.call.
func (s *Server) luaCall(state *lua.LState) int {
	words := make([]string, state.GetTop())
	for i := range words {
		words[i] = state.ToString(i + 1)
	}
	words[0] = strings.ToLower(words[0])
	reply, err := s.call(words)
	if err != nil {
		state.RaiseError("%s", err.Error())
	}
	state.Push(s.toLua(reply))
	return 1
}

// toLua turns a reply into Lua as Redis does: nil is false.
func (s *Server) toLua(reply any) lua.LValue {
	switch value := reply.(type) {
	case string:
		return lua.LString(value)
	case int64:
		return lua.LNumber(value)
	case []any:
		table := s.state.CreateTable(len(value), 0)
		for i, one := range value {
			table.RawSetInt(i+1, s.toLua(one))
		}
		return table
	default:
		return lua.LFalse
	}
}

// fromLua turns the result of a script into a reply as Redis does.
func fromLua(value lua.LValue) any {
	switch value := value.(type) {
	case lua.LString:
		return string(value)
	case lua.LNumber:
		return int64(value)
	case lua.LBool:
		if value {
			return int64(1)
		}
		return nil
	case *lua.LTable:
		list := []any{}
		for i := 1; ; i++ {
			one := value.RawGetInt(i)
			if one == lua.LNil {
				return list
			}
			list = append(list, fromLua(one))
		}
	default:
		return nil
	}
}

func compile(sha, source string) (*script, error) {
	mutex.Lock()
	defer mutex.Unlock()
	if known, ok := compiled[sha]; ok {
		return known, nil
	}
	first, body, _ := strings.Cut(source, "\n")
	known := &script{}
	if flags, ok := strings.CutPrefix(first, "#!lua"); ok {
		known.allowOOM = strings.Contains(flags, "allow-oom")
		source = body
	}
	chunk, err := parse.Parse(strings.NewReader(source), "script")
	if err != nil {
		return nil, fmt.Errorf("parsing: %w", err)
	}
	if known.proto, err = lua.Compile(chunk, "script"); err != nil {
		return nil, fmt.Errorf("compiling: %w", err)
	}
	compiled[sha] = known
	return known, nil
}
