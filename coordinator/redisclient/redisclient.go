// Package redisclient finds out by its methods what a client of go-redis is, also
// through structs that embed one.
package redisclient

import (
	"context"
	"reflect"

	"github.com/redis/go-redis/v9"
)

// Cluster has the methods of a Cluster's client that name its servers.
type Cluster interface {
	redis.UniversalClient
	Options() *redis.ClusterOptions
	ForEachMaster(ctx context.Context, do func(ctx context.Context, master *redis.Client) error) error
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ReloadState(ctx context.Context)
}

// ClusterOf returns the Cluster's client that a client is or embeds, or nil.
func ClusterOf(client redis.UniversalClient) Cluster {
	cluster, _ := find[Cluster](client)
	return cluster
}

// OptionsOf returns the options of a single server's or Sentinel's client that a
// client is or embeds, or nil.
func OptionsOf(client redis.UniversalClient) *redis.Options {
	single, ok := find[interface{ Options() *redis.Options }](client)
	if !ok {
		return nil
	}
	return single.Options()
}

// IsRing reports whether a client is or embeds a Ring.
func IsRing(client redis.UniversalClient) bool {
	_, ok := find[interface{ Options() *redis.RingOptions }](client)
	return ok
}

var universal = reflect.TypeFor[redis.UniversalClient]()

// find returns the T that a client is. A struct that embeds a client as an interface,
// or with methods of its own in front, is searched.
func find[T any](client any) (found T, ok bool) {
	if found, ok = client.(T); ok {
		return found, true
	}
	v := reflect.Indirect(reflect.ValueOf(client))
	if v.Kind() != reflect.Struct {
		return found, false
	}
	for i := range v.NumField() {
		if f := v.Type().Field(i); f.Anonymous && f.IsExported() && f.Type.Implements(universal) {
			return find[T](v.Field(i).Interface())
		}
	}
	return found, false
}

// IsNil reports whether a client is nil, or a struct that embeds a nil one.
func IsNil(client redis.UniversalClient) bool { return isNil(reflect.ValueOf(client)) }

func isNil(v reflect.Value) bool {
	switch v.Kind() { //nolint:exhaustive // others cannot be nil and embed nothing
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Interface:
		return v.IsNil() || isNil(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.Anonymous && f.Type.Implements(universal) && isNil(v.Field(i)) {
				return true
			}
		}
	}
	return false
}
