package budgettest

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/calybris/bursar/coordinator/budget"
)

// Spread returns an engine that distributes its calls over several nodes of one store,
// round robin. With it, a suite tests how nodes work together: one node settles the
// reservations of another.
func Spread(nodes ...budget.Engine) budget.Engine { return &spread{nodes: nodes} }

type spread struct {
	nodes []budget.Engine
	turn  atomic.Uint64
}

func (s *spread) next() budget.Engine { return s.nodes[s.turn.Add(1)%uint64(len(s.nodes))] }

// EnsureTenant calls EnsureTenant of the next node.
func (s *spread) EnsureTenant(ctx context.Context, tenant budget.TenantID, amount budget.Microcents, settings ...budget.Setting) (budget.Ensured, error) {
	return s.next().EnsureTenant(ctx, tenant, amount, settings...)
}

// TryReserve calls TryReserve of the next node.
func (s *spread) TryReserve(ctx context.Context, tenant budget.TenantID, cost budget.Microcents, opts ...budget.ReserveOption) (budget.Reservation, error) {
	return s.next().TryReserve(ctx, tenant, cost, opts...)
}

// Commit calls Commit of the next node.
func (s *spread) Commit(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	return s.next().Commit(ctx, id, actual)
}

// Release calls Release of the next node.
func (s *spread) Release(ctx context.Context, id budget.ReservationID) (budget.Settlement, error) {
	return s.next().Release(ctx, id)
}

// CommitAvailable calls CommitAvailable of the next node.
func (s *spread) CommitAvailable(ctx context.Context, id budget.ReservationID, actual budget.Microcents) (budget.Settlement, error) {
	return s.next().CommitAvailable(ctx, id, actual)
}

// Configure calls Configure of the next node.
func (s *spread) Configure(ctx context.Context, tenant budget.TenantID, settings ...budget.Setting) (budget.Configuration, error) {
	return s.next().Configure(ctx, tenant, settings...)
}

// FreezeTenant calls FreezeTenant of the next node.
func (s *spread) FreezeTenant(ctx context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return s.next().FreezeTenant(ctx, tenant)
}

// UnfreezeTenant calls UnfreezeTenant of the next node.
func (s *spread) UnfreezeTenant(ctx context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return s.next().UnfreezeTenant(ctx, tenant)
}

// CloseTenant calls CloseTenant of the next node.
func (s *spread) CloseTenant(ctx context.Context, tenant budget.TenantID) (budget.Configuration, error) {
	return s.next().CloseTenant(ctx, tenant)
}

// Lookup calls Lookup of the next node.
func (s *spread) Lookup(ctx context.Context, id budget.ReservationID) (budget.Fate, error) {
	return s.next().Lookup(ctx, id)
}

// Remaining calls Remaining of the next node.
func (s *spread) Remaining(ctx context.Context, tenant budget.TenantID) (budget.Remainder, error) {
	return s.next().Remaining(ctx, tenant)
}

// Balance calls Balance of the next node.
func (s *spread) Balance(ctx context.Context, tenant budget.TenantID, opts ...budget.BalanceOption) (budget.Balance, error) {
	return s.next().Balance(ctx, tenant, opts...)
}

// Limits calls Limits of the next node.
func (s *spread) Limits(ctx context.Context, tenant budget.TenantID) (budget.LimitList, error) {
	return s.next().Limits(ctx, tenant)
}

// Holds calls Holds of the next node.
func (s *spread) Holds(ctx context.Context, tenant budget.TenantID) (budget.HoldList, error) {
	return s.next().Holds(ctx, tenant)
}

// Grant calls Grant of the next node.
func (s *spread) Grant(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	return s.next().Grant(ctx, tenant, amount)
}

// Withdraw calls Withdraw of the next node.
func (s *spread) Withdraw(ctx context.Context, tenant budget.TenantID, amount budget.Microcents) (budget.Adjustment, error) {
	return s.next().Withdraw(ctx, tenant, amount)
}

// DeleteTenant calls DeleteTenant of the next node, which must have it.
func (s *spread) DeleteTenant(ctx context.Context, tenant budget.TenantID) (budget.Balance, error) {
	node, ok := s.next().(levelled)
	if !ok {
		return budget.Balance{}, fmt.Errorf("budgettest: a %T can't delete tenants", node)
	}
	return node.DeleteTenant(ctx, tenant)
}

// Tree calls Tree of the next node, which must have it.
func (s *spread) Tree(ctx context.Context, tenant budget.TenantID) (budget.Tree, error) {
	node, ok := s.next().(levelled)
	if !ok {
		return budget.Tree{}, fmt.Errorf("budgettest: a %T has no trees", node)
	}
	return node.Tree(ctx, tenant)
}
