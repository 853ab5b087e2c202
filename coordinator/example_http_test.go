package coordinator_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"time"

	"github.com/calybris/bursar/coordinator"
	"github.com/calybris/bursar/coordinator/budget"
)

// paid runs next with limit held for the request's tenant, and charges the cost that next
// reports. It starts no work without holding money for it. now is time.Now.
func paid(engine budget.Engine, now func() time.Time, limit budget.Microcents, next func(http.ResponseWriter, *http.Request) budget.Microcents) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant := budget.TenantID(r.Header.Get("X-Tenant")) // as authenticated
		held, err := engine.TryReserve(r.Context(), tenant, limit)
		if err == nil {
			err = refusal(held) // an outcome, not an error
		}
		if err != nil {
			if held.Renews != 0 {
				renewal(r.Context(), w.Header(), engine, held, limit, now())
			}
			refuse(w, err)
			return
		}
		var cost budget.Microcents
		defer func() { // after a panic of next the cost is 0, which returns everything
			// The client may have left, but its request has cost money.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 5*time.Second)
			defer cancel()
			settled, err := engine.Commit(ctx, held.ID, cost)
			if err == nil {
				err = settled.Err()
			}
			if err != nil {
				log.Print("not settled at ", cost, ", and it may be tried again: ", held.ID, ": ", err)
			}
		}()
		cost = next(w, r)
	})
}

// refusal returns the error of a refused reserve, with the level that refused: the tenant
// or one above it, which the client may know. If it isn't the level's base limit, the limit follows.
func refusal(held budget.Reservation) error {
	level := string(held.Level)
	if held.Limit != budget.NoPeriod {
		level += " (limit " + held.Limit.String() + ")"
	}
	switch {
	case held.Level == "" || held.Err() == nil:
		return held.Err()
	case held.Renews != 0:
		return fmt.Errorf("%w: %s has %s left; it renews at %s", held.Err(), level, held.Remaining, held.Renews)
	case held.Outcome == budget.Insufficient:
		return fmt.Errorf("%w: %s has %s left", held.Err(), level, held.Remaining)
	default: // capped, frozen or closed
		return fmt.Errorf("%w: %s", held.Err(), level)
	}
}

// renewal sets the fields of a refused request whose limit renews: Retry-After, and those of
// draft-ietf-httpapi-ratelimit-headers, in requests that cost the limit. Their number is the
// quota of an epoch or a rolling window of w seconds; r requests are left. After t seconds the
// next epoch begins, or the oldest part of the rolling window returns. The policy has the name of
// the limit.
func renewal(ctx context.Context, h http.Header, engine budget.Engine, held budget.Reservation, limit budget.Microcents, now time.Time) {
	seconds := func(d time.Duration) int64 { return max(int64((d+time.Second-1)/time.Second), 1) }
	left := seconds(held.Renews.Time().Sub(now))
	h.Set("Retry-After", strconv.FormatInt(left, 10))
	name := "budget"
	if held.Limit != budget.NoPeriod {
		name = held.Limit.String()
	}
	h.Set("RateLimit", fmt.Sprintf(`"%s";r=%d;t=%d`, name, held.Remaining/limit, left))
	b, err := engine.Balance(ctx, held.Level, budget.OfLimit(held.Limit))
	if err != nil {
		return
	}
	length := b.Epoch.End.Time().Sub(b.Epoch.Start.Time())
	if parts, part := b.Settings.Window.Period.Parts(); parts > 0 {
		length = time.Duration(parts) * part
	}
	if length > 0 { // unless the window was removed
		h.Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d;w=%d`, name, b.Settings.Window.Amount/limit, seconds(length)))
	}
}

// refuse writes the response for an error.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, budget.ErrInsufficient) && w.Header().Get("Retry-After") != "":
		status = http.StatusTooManyRequests // until the budget renews
	case errors.Is(err, budget.ErrInsufficient):
		status = http.StatusPaymentRequired
	case errors.Is(err, budget.ErrMissingTenant), errors.Is(err, budget.ErrTenantFrozen), errors.Is(err, budget.ErrTenantClosed):
		status = http.StatusForbidden
	case errors.Is(err, budget.ErrInvalidTenant):
		status = http.StatusBadRequest
	case errors.Is(err, coordinator.ErrOverloaded), errors.Is(err, budget.ErrCapped): // nothing happened; a retry may succeed
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", "1")
	case errors.Is(err, coordinator.ErrUnavailable), errors.Is(err, coordinator.ErrUnknownOutcome):
		status = http.StatusServiceUnavailable // no answer, no work
		w.Header().Set("Retry-After", "5")
	}
	http.Error(w, err.Error(), status)
}

// A service reserves before the work and commits after it. If the missing money is only
// held by other requests, respond with 429 instead of 402, so that the client tries
// again: compare Balance's Reserved with the missing amount. A limit with a window gets 429
// and the time until it renews, or until a rolling window returns its oldest part.
func Example_http() {
	client, stop := exampleRedis()
	defer stop()
	ctx := context.Background()
	now := func() time.Time { return time.Date(2026, time.March, 1, 12, 15, 0, 0, time.UTC) } // time.Now in a service
	node, err := coordinator.New(ctx, client, coordinator.WithClock(now))
	if err != nil {
		log.Fatal(err)
	}
	defer closeNode(node)
	for tenant, amount := range map[budget.TenantID]budget.Microcents{"acme": 50 * budget.Cent, "acme/search": budget.Dollar} {
		if _, err := node.EnsureTenant(ctx, tenant, amount); err != nil {
			log.Fatal(err)
		}
	}
	_, err1 := node.EnsureTenant(ctx, "globex", budget.Dollar, budget.CapReserved(20*budget.Cent))
	_, err2 := node.EnsureTenant(ctx, "initech", budget.Dollar)
	_, err3 := node.FreezeTenant(ctx, "initech")
	_, err4 := node.EnsureTenant(ctx, "umbrella", 20*budget.Cent, budget.InWindow(budget.Window{Period: budget.Hour, Amount: 90 * budget.Cent}))
	_, err5 := node.EnsureTenant(ctx, "hooli", 40*budget.Cent, budget.InWindow(budget.Window{Period: budget.Last24Hours}))
	_, err6 := node.EnsureTenant(ctx, "stark", 50*budget.Dollar, budget.SetLimit(budget.Limit{Window: budget.Window{Period: budget.Day, Amount: 40 * budget.Cent}}))
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		log.Fatal(err)
	}
	service := paid(node, now, 30*budget.Cent, func(w http.ResponseWriter, _ *http.Request) budget.Microcents {
		fmt.Fprintln(w, "the answer")
		return 25 * budget.Cent
	})

	for _, tenant := range []string{"acme/search", "acme/search", "globex", "umbrella", "hooli", "hooli", "stark", "stark", "initech", "nobody", "a//b"} {
		request := httptest.NewRequest(http.MethodPost, "/complete", http.NoBody)
		request.Header.Set("X-Tenant", tenant)
		response := httptest.NewRecorder()
		service.ServeHTTP(response, request)
		fmt.Print(response.Code, " ", response.Body)
		if limit := response.Header().Get("RateLimit"); limit != "" {
			fmt.Println("   ", response.Header().Get("Retry-After"), limit, response.Header().Get("RateLimit-Policy"))
		}
	}
	// Output:
	// 200 the answer
	// 402 insufficient budget: acme has $0.25 left
	// 429 the hold exceeds a cap: globex
	// 429 insufficient budget: umbrella has $0.20 left; it renews at 2026-03-01T13:00:00Z
	//     2700 "budget";r=0;t=2700 "budget";q=3;w=2700
	// 200 the answer
	// 429 insufficient budget: hooli has $0.15 left; it renews at 2026-03-02T13:00:00Z
	//     89100 "budget";r=0;t=89100 "budget";q=1;w=86400
	// 200 the answer
	// 429 insufficient budget: stark (limit day) has $0.15 left; it renews at 2026-03-02T00:00:00Z
	//     42300 "day";r=0;t=42300 "day";q=1;w=42300
	// 403 the account is frozen: initech
	// 403 no such tenant
	// 400 invalid tenant id "a//b": a level is empty; write names with one / between them
}

// The responses to refusals.
func Example_httpRefusals() {
	for _, err := range []error{
		fmt.Errorf("tenant \"acme\": %w (limit 16384)", coordinator.ErrOverloaded),
		fmt.Errorf("%w within 10s", coordinator.ErrUnavailable),
		&coordinator.UnknownOutcomeError{Cause: context.DeadlineExceeded},
	} {
		response := httptest.NewRecorder()
		refuse(response, err)
		fmt.Print(response.Code, ", after ", response.Header().Get("Retry-After"), " s: ", response.Body)
	}
	// Output:
	// 429, after 1 s: tenant "acme": queue full (limit 16384)
	// 503, after 5 s: Redis does not answer within 10s
	// 503, after 5 s: outcome unknown: context deadline exceeded
}
