// Package redisclient determines the kind of a go-redis client (single server, Cluster or
// Ring) by its methods, even if a struct embeds the client.
package redisclient

import (
	"context"
	"reflect"

	"github.com/redis/go-redis/v9"
)

// Cluster is a Cluster client, with the methods that give access to its servers.
type Cluster interface {
	redis.UniversalClient
	Options() *redis.ClusterOptions
	ForEachMaster(ctx context.Context, do func(ctx context.Context, master *redis.Client) error) error
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ReloadState(ctx context.Context)
}

// ClusterOf returns the Cluster client that client is or embeds, or nil.
func ClusterOf(client redis.UniversalClient) Cluster {
	cluster, _ := find[Cluster](client)
	return cluster
}

// OptionsOf returns the options of the single-server or Sentinel client that client is or
// embeds, or nil.
func OptionsOf(client redis.UniversalClient) *redis.Options {
	single, ok := find[interface{ Options() *redis.Options }](client)
	if !ok {
		return nil
	}
	return single.Options()
}

// IsRing reports whether client is or embeds a Ring.
func IsRing(client redis.UniversalClient) bool {
	_, ok := find[interface{ Options() *redis.RingOptions }](client)
	return ok
}

var universal = reflect.TypeFor[redis.UniversalClient]()

// find returns client as a T. If client is a struct that embeds a client, but as an
// interface or with methods that hide those of the T, find searches the embedded client.
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

// IsNil reports whether client is nil or a struct that embeds a nil client.
func IsNil(client redis.UniversalClient) bool { return isNil(reflect.ValueOf(client)) }

func isNil(v reflect.Value) bool {
	switch v.Kind() { //nolint:exhaustive // other kinds can't be nil or embed a client
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
