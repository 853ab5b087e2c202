package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// Inspection is stored state in words, damaged or not.
type Inspection struct {
	Subject string   `json:"subject"`
	Facts   Values   `json:"facts"`
	Records []Record `json:"records"`
	Damages []Damage `json:"damages"`
}

// Record is one stored record in words.
type Record struct {
	Subject string `json:"subject"`
	Key     string `json:"key"`
	Field   string `json:"field"` // as a Go string: it may be binary
	Raw     string `json:"raw"`   // hexadecimal
	Values  Values `json:"values"`
}

// Value is a named figure. Text is its human-readable form, "" for the value itself.
type Value struct {
	Name  string
	Value any
	Text  string
}

func (v Value) text() string {
	if v.Text != "" {
		return v.Text
	}
	return fmt.Sprint(v.Value)
}

// Values are named figures in the order in which they are stored. Their JSON is an
// object.
type Values []Value

// MarshalJSON writes an object with the names in order.
func (v Values) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, value := range v {
		name, errName := json.Marshal(value.Name)
		text, errValue := json.Marshal(value.Value)
		if err := errors.Join(errName, errValue); err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%s", name, text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Get returns the value with this name, or nil.
func (v Values) Get(name string) any {
	if i := slices.IndexFunc(v, func(v Value) bool { return v.Name == name }); i >= 0 {
		return v[i].Value
	}
	return nil
}

// WriteText writes the inspection in human-readable form.
func (i Inspection) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, i.Subject)
	i.Facts.write(t)
	for _, r := range i.Records {
		fmt.Fprintf(t, "\n%s\n", r.Subject)
		r.Values.write(t)
		fmt.Fprintf(t, "  field\t%s\n  raw\t%d bytes: %s\n", r.Field, len(r.Raw)/2, shortened(r.Raw))
	}
	if len(i.Damages) > 0 {
		fmt.Fprintln(t, "\ndamages")
	}
	for _, d := range i.Damages {
		fmt.Fprintf(t, "  %s\n", d)
	}
	return t.Flush()
}

func (v Values) write(w io.Writer) {
	for _, value := range v {
		fmt.Fprintf(w, "  %s\t%s\n", value.Name, value.text())
	}
}

// shownRaw is the largest number of hexadecimal digits that WriteText writes.
const shownRaw = 256

func shortened(raw string) string {
	if len(raw) > shownRaw {
		return raw[:shownRaw] + "…"
	}
	return raw
}

func (i *Inspection) fact(name string, value any, text ...string) {
	i.Facts = append(i.Facts, valueOf(name, value, text...))
}

func valueOf(name string, value any, text ...string) Value {
	v := Value{Name: name, Value: value}
	if len(text) > 0 {
		v.Text = text[0]
	}
	return v
}

// timeOf returns an instant in Unix ms, 0 for none.
func timeOf(name string, ms int64) Value {
	if ms == 0 {
		return valueOf(name, ms, "none")
	}
	return valueOf(name, ms, fmt.Sprintf("%s (%d)", time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z"), ms))
}

func amountOf(name string, amount budget.Microcents) Value {
	return valueOf(name, amount, fmt.Sprintf("%s (%d microcents)", amount, int64(amount)))
}

// inspector collects an inspection.
type inspector struct {
	client redis.UniversalClient
	prefix Prefix
	Inspection
}

func inspect(ctx context.Context, client redis.UniversalClient, prefix, subject string) (*inspector, error) {
	p, err := Partitions(ctx, client, prefix)
	if err != nil {
		return nil, err
	}
	if p.Partitions == 0 {
		return nil, fmt.Errorf("%w: prefix %q has no partitions", ErrAbsent, prefix)
	}
	return &inspector{client, p, Inspection{Subject: subject, Facts: Values{}, Records: []Record{}, Damages: p.Damages}}, nil
}

// ErrAbsent is returned if there is nothing to inspect.
var ErrAbsent = errors.New("absent")

func (n *inspector) keys(index int) store.Keys {
	return store.KeysOf(n.prefix.Name, n.prefix.Partitions, index)
}

// read returns a record; ok is false if there is none.
func (n *inspector) read(ctx context.Context, key, field string) (record string, ok bool, err error) {
	record, err = n.client.HGet(ctx, key, field).Result()
	if errors.Is(err, redis.Nil) {
		return "", false, nil
	}
	return record, err == nil, reading(key, err)
}

// add adds a record in words, and its damage if there is one.
func (n *inspector) add(index int, field, record string, tenant budget.TenantID) {
	key, subject := n.keys(index).Ledger, store.NameField(field, tenant)
	values, kind, err := decode(field, record)
	n.Records = append(n.Records, Record{subject, key, fmt.Sprintf("%+q", field), fmt.Sprintf("%x", record), values})
	if err != nil {
		n.damage(index, kind, subject, err.Error())
	}
}

func (n *inspector) damage(index int, kind Kind, subject, what string) {
	n.Damages = append(n.Damages, Damage{Partition: index, Kind: kind, Subject: subject, What: what, Remedy: remedyOf(kind, n.keys(index).Ledger)})
}

// Inspect returns the partitions of a prefix, and the damages of their keys.
func Inspect(ctx context.Context, client redis.UniversalClient, prefix string) (Inspection, error) {
	n, err := inspect(ctx, client, prefix, "prefix "+prefix)
	if err != nil {
		return Inspection{}, err
	}
	n.fact("partitions", n.prefix.Partitions)
	n.fact("in use", len(n.prefix.Existing))
	for _, i := range n.prefix.Existing {
		if _, _, err := n.checkKeys(ctx, i); err != nil {
			return Inspection{}, err
		}
		keys := n.keys(i)
		fields, errLedger := client.HLen(ctx, keys.Ledger).Result()
		timers, errTimers := client.ZCard(ctx, keys.Timers).Result()
		control, errControl := client.HGet(ctx, keys.Ledger, store.ControlField).Result()
		text := fmt.Sprintf("%s  %d fields, %d timers", keys.Ledger, fields, timers)
		for _, err := range []error{errLedger, errTimers, errControl} {
			if isWrongType(err) {
				text = fmt.Sprintf("%s  %v", keys.Ledger, err)
			} else if err != nil && !errors.Is(err, redis.Nil) {
				return Inspection{}, reading(keys.Ledger, err)
			}
		}
		if c, err := store.ParseControl(control); err == nil {
			text += fmt.Sprintf(", sequence %d, last batch %s", c.Sequence, timeOf("", c.Time).text())
		}
		n.fact(fmt.Sprintf("partition %d", i), map[string]any{"ledger": keys.Ledger, "fields": fields, "timers": timers}, text)
	}
	return n.Inspection, nil
}

// InspectTenant returns a tenant's account, and the sum of its open holds.
func InspectTenant(ctx context.Context, client redis.UniversalClient, prefix string, tenant budget.TenantID) (Inspection, error) {
	n, err := inspect(ctx, client, prefix, fmt.Sprintf("tenant %q", tenant))
	if err != nil {
		return Inspection{}, err
	}
	index := store.PartitionOf(tenant, n.prefix.Partitions)
	n.fact("partition", index, fmt.Sprintf("%d of %d", index, n.prefix.Partitions))
	header, readable, err := n.checkKeys(ctx, index)
	if err != nil || !readable {
		return n.Inspection, err
	}
	field := store.AccountField(tenant)
	record, ok, err := n.read(ctx, n.keys(index).Ledger, field)
	if err != nil {
		return Inspection{}, err
	}
	if !ok {
		return Inspection{}, fmt.Errorf("%w: partition %d has no account of tenant %q", ErrAbsent, index, tenant)
	}
	n.add(index, field, record, tenant)
	if err := n.addEpochs(ctx, index, record, store.AccountID{Tenant: tenant}); err != nil {
		return Inspection{}, err
	}
	limits, err := n.addLimits(ctx, index, record, tenant)
	if err != nil {
		return Inspection{}, err
	}
	err = n.sumUp(ctx, index, header, tenant, limits)
	return n.Inspection, err
}

// addEpochs adds the ended epochs that an account keeps. One that is missing may have been
// dropped since the account was read.
func (n *inspector) addEpochs(ctx context.Context, index int, account string, id store.AccountID) error {
	a, _, err := store.ParseAccount(account)
	if err != nil || a.Epochs == nil {
		return nil //nolint:nilerr // recorded as a damage
	}
	for _, start := range a.Epochs.Kept {
		field := id.EpochField(start)
		record, ok, err := n.read(ctx, n.keys(index).Ledger, field)
		if err != nil {
			return err
		}
		if ok {
			n.add(index, field, record, id.Tenant)
		} else {
			n.fact(store.NameField(field, id.Tenant), nil, "missing")
		}
	}
	return nil
}

// checkKeys adds the damages of a partition's keys and header. It reports whether the
// ledger can be read.
func (n *inspector) checkKeys(ctx context.Context, index int) (header string, readable bool, err error) {
	if !slices.Contains(n.prefix.Existing, index) {
		return "", false, fmt.Errorf("%w: partition %d of %d was never used", ErrAbsent, index, n.prefix.Partitions)
	}
	v := verification{client: n.client, prefix: n.prefix, index: index, keys: n.keys(index)}
	var f finding
	header, readable, err = v.checkKeys(ctx, &f)
	n.Damages = append(n.Damages, f.damages...)
	return header, readable, err
}

// sumUp compares a tenant's account, and those of its limits, with its holds.
func (n *inspector) sumUp(ctx context.Context, index int, header string, tenant budget.TenantID, limits budget.Periods) error {
	only := tenant
	if limits != 0 {
		only = "" // a snapshot of one tenant reads its base limit alone
	}
	s := store.NewSnapshot(header, only, false)
	err := readPages(ctx, n.client, n.keys(index), s)
	refusal := store.Refusal("")
	if errors.Is(err, store.ErrBehind) || errors.As(err, &refusal) {
		n.fact("open holds", nil, "not counted: "+err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range s.Damages {
		if d.Tenant != "" && d.Tenant != tenant {
			continue
		}
		subject := store.NameField(d.Field, d.Tenant)
		if !slices.ContainsFunc(n.Damages, func(known Damage) bool { return known.Kind == d.Kind && known.Subject == subject }) {
			n.damage(index, d.Kind, subject, d.What)
		}
	}
	n.sumUpAccount(index, s, store.AccountID{Tenant: tenant}, "")
	for _, limit := range limits.All() {
		n.sumUpAccount(index, s, store.AccountID{Tenant: tenant, Limit: limit}, fmt.Sprintf(" of the limit %s", limit))
	}
	return nil
}

// InspectReservation returns the record of a reservation, open or ended, and the parts of
// its id.
func InspectReservation(ctx context.Context, client redis.UniversalClient, prefix string, id budget.ReservationID) (Inspection, error) {
	n, err := inspect(ctx, client, prefix, "reservation "+id.String())
	if err != nil {
		return Inspection{}, err
	}
	tenant := id.Tenant()
	index := store.PartitionOf(tenant, n.prefix.Partitions)
	keys, field := n.keys(index), store.HoldField(id)
	node, number := store.MakerOf(id)
	n.fact("partition", index, fmt.Sprintf("%d of %d", index, n.prefix.Partitions))
	n.fact("tenant", tenant)
	n.fact("made by node", store.HexID(node))
	n.fact("in its batch", number)
	_, readable, err := n.checkKeys(ctx, index)
	if err != nil || !readable {
		return n.Inspection, err
	}
	record, ok, err := n.read(ctx, keys.Ledger, field)
	switch {
	case err != nil:
	case ok:
		n.add(index, field, record, tenant)
		err = n.compareHold(ctx, index, id, record)
	default:
		err = n.explainAbsence(ctx, index, node, number)
	}
	return n.Inspection, err
}

// explainAbsence explains, by its maker's session, why a hold has no record.
func (n *inspector) explainAbsence(ctx context.Context, index int, node, number uint64) error {
	text, ok, err := n.read(ctx, n.keys(index).Ledger, store.SessionField(node))
	if err != nil {
		return err
	}
	switch session := store.Session(text); {
	case !ok:
		n.fact("record", nil, "none: it has ended and is forgotten, or was never made; the session of its node is gone")
	case !session.Valid():
		n.fact("record", nil, "none")
		n.add(index, store.SessionField(node), text, "")
	case number > session.Since():
		n.fact("record", nil, fmt.Sprintf("none: batch %d was never applied here; the last one of its node is %d", number, session.Since()))
	default:
		n.fact("record", nil, fmt.Sprintf("none: batch %d was applied, so the hold has ended and is forgotten, or was refused", number))
	}
	return nil
}

// compareHold compares a hold with its timer and its account.
func (n *inspector) compareHold(ctx context.Context, index int, id budget.ReservationID, record string) error {
	hold, err := store.ParseHold(record)
	if err != nil {
		return nil //nolint:nilerr // recorded as a damage
	}
	keys, field := n.keys(index), store.HoldField(id)
	at, err := n.client.ZScore(ctx, keys.Timers, field).Result()
	switch {
	case errors.Is(err, redis.Nil) && hold.Open() && hold.Deadline != 0:
		n.damage(index, store.UntimedHold, "reservation "+id.String(), "it has no timer")
	case errors.Is(err, redis.Nil):
		n.fact("timer", nil, "none")
	case isWrongType(err): // recorded as a damage
	case err != nil:
		return reading(keys.Timers, err)
	default:
		n.Facts = append(n.Facts, timeOf("timer", int64(at)))
	}
	text, ok, err := n.read(ctx, keys.Ledger, store.AccountField(hold.Tenant))
	if err != nil || !hold.Open() {
		return err
	}
	account, ok2, err := store.ParseAccount(text)
	switch {
	case !ok || err == nil && !ok2:
		n.damage(index, store.OrphanedHold, "reservation "+id.String(), fmt.Sprintf("tenant %q has no account", hold.Tenant))
	case err == nil && !hold.Debited(account.Serial):
		n.damage(index, store.OrphanedHold, "reservation "+id.String(), fmt.Sprintf("it holds money of an account with serial %d, but tenant %q now has serial %d", hold.Serial, hold.Tenant, account.Serial))
	case hold.Tenant != id.Tenant():
		n.fact("other tenant", hold.Tenant, fmt.Sprintf("the record is of tenant %q, so this id matches nothing", hold.Tenant))
	default:
		return n.addDebited(ctx, index, hold)
	}
	return nil
}

// InspectNode returns a node's sessions, with the stored replies to its last batches.
func InspectNode(ctx context.Context, client redis.UniversalClient, prefix string, node uint64) (Inspection, error) {
	n, err := inspect(ctx, client, prefix, "node "+store.HexID(node))
	if err != nil {
		return Inspection{}, err
	}
	for _, i := range n.prefix.Existing {
		_, readable, err := n.checkKeys(ctx, i)
		if err != nil {
			return Inspection{}, err
		}
		if !readable {
			continue
		}
		for _, field := range []string{store.SessionField(node), store.ReplyField(node)} {
			record, ok, err := n.read(ctx, n.keys(i).Ledger, field)
			if err != nil {
				return Inspection{}, err
			}
			if ok {
				n.add(i, field, record, "")
				n.Records[len(n.Records)-1].Subject = fmt.Sprintf("partition %d, %s", i, store.NameField(field, ""))
			}
		}
	}
	if len(n.Records) == 0 && len(n.Damages) == 0 {
		return Inspection{}, fmt.Errorf("%w: no partition has a session of node %s", ErrAbsent, store.HexID(node))
	}
	return n.Inspection, nil
}

// InspectPartition returns a partition: header, control record, the number of records of
// each kind, the sessions, the next timers, and every damage. It reads the whole
// partition, page by page.
func InspectPartition(ctx context.Context, client redis.UniversalClient, prefix string, index int) (Inspection, error) {
	n, err := inspect(ctx, client, prefix, fmt.Sprintf("partition %d", index))
	if err != nil {
		return Inspection{}, err
	}
	if index < 0 || index >= n.prefix.Partitions {
		return Inspection{}, fmt.Errorf("%w: prefix %q has %d partitions, the first is 0", ErrAbsent, prefix, n.prefix.Partitions)
	}
	if !slices.Contains(n.prefix.Existing, index) {
		return Inspection{}, fmt.Errorf("%w: partition %d of %d was never used", ErrAbsent, index, n.prefix.Partitions)
	}
	keys := n.keys(index)
	n.Subject = fmt.Sprintf("partition %d of %d", index, n.prefix.Partitions)
	n.fact("ledger", keys.Ledger)
	n.fact("timers", keys.Timers)
	var r Report
	v := verification{client: client, prefix: n.prefix, index: index, keys: keys, report: &r}
	if err := v.run(ctx); err != nil {
		return Inspection{}, err
	}
	n.Damages = append(n.Damages, r.Damages...)
	if slices.ContainsFunc(r.Damages, func(d Damage) bool { return d.Subject == "ledger" }) {
		return n.Inspection, nil
	}
	return n.Inspection, errors.Join(n.showRecords(ctx, index), n.showTimers(ctx, index))
}

// showRecords counts the fields of a ledger, and shows the header, the control record and
// the sessions.
func (n *inspector) showRecords(ctx context.Context, index int) error {
	keys, counts := n.keys(index), make(map[string]int)
	var w walk
	sessions := make(map[string]string)
	seen := make(map[string]bool)
	err := w.eachField(ctx, n.client, keys.Ledger, "*", func(field, record string) error {
		if field == "" || field[0] != luascripts.FieldHold && seen[field] {
			return nil
		}
		if field[0] != luascripts.FieldHold {
			seen[field] = true
		}
		counts[kindOf(field, record)]++
		if field[0] == luascripts.FieldSession {
			sessions[field] = record
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, kind := range kindNames {
		n.fact(kind, counts[kind])
	}
	for _, field := range []string{store.HeaderField, store.ControlField} {
		record, ok, err := n.read(ctx, keys.Ledger, field)
		if err != nil {
			return err
		}
		if ok {
			n.show(index, field, record)
		}
	}
	for _, field := range sortedKeys(sessions) {
		n.show(index, field, sessions[field])
	}
	return nil
}

// show adds a record whose damages are already known.
func (n *inspector) show(index int, field, record string) {
	damages := n.Damages
	n.add(index, field, record, "")
	n.Damages = damages
}

// nextTimers is the number of timers shown for a partition.
const nextTimers = 10

func (n *inspector) showTimers(ctx context.Context, index int) error {
	key := n.keys(index).Timers
	count, err := n.client.ZCard(ctx, key).Result()
	if isWrongType(err) {
		return nil // recorded as a damage
	}
	next, errNext := n.client.ZRangeWithScores(ctx, key, 0, nextTimers-1).Result()
	if err := errors.Join(err, errNext); err != nil {
		return reading(key, err)
	}
	n.fact("timers in all", count)
	for i, z := range next {
		member, _ := z.Member.(string)
		at := timeOf(fmt.Sprintf("timer %d", i+1), 0)
		if member == luascripts.Sentinel {
			at.Text = "end of the timers (sentinel)"
		} else {
			at = timeOf(at.Name, int64(z.Score))
			at.Text += "  " + store.NameField(member, "")
		}
		n.Facts = append(n.Facts, at)
	}
	return nil
}
