// Package layout is how a family of tenants is stored in Redis, as seen from Go:
// key names, field names, and the texts of accounts and holds. The Lua sees the
// same layout in package luascripts, where family.lua, endings.lua and
// sessions.lua describe it; a test holds both sides together.
//
// What belongs here is naming, encoding and decoding. It moves no money and
// talks to no Redis.
package layout
