package audit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
	"github.com/calybris/bursar/luascripts"
)

// A part is a figure of a record: its bytes from an offset.
type part struct {
	name          string
	offset, bytes int
	show          func(name string, n uint64) Value
}

func (p part) value(record string) Value {
	if len(record) < p.offset+p.bytes {
		return valueOf(p.name, nil, "cut off")
	}
	var n uint64
	for _, c := range []byte(record[p.offset : p.offset+p.bytes]) {
		n = n<<8 | uint64(c)
	}
	return p.show(p.name, n)
}

func plain(name string, n uint64) Value  { return valueOf(name, n) }
func amount(name string, n uint64) Value { return amountOf(name, budget.Microcents(n)) } //nolint:gosec // its 64 bits
func instant(name string, n uint64) Value {
	return timeOf(name, int64(n)) //nolint:gosec // 48 bits
}
func digest(name string, n uint64) Value { return valueOf(name, store.HexID(n)) }

// flag is a bit of a record, in words.
type flag struct {
	bit  uint64
	word string
}

func wordsOf(n uint64, flags ...flag) (set []string) {
	for _, f := range flags {
		if n&f.bit != 0 {
			set = append(set, f.word)
		}
	}
	return set
}

// accountFlags shows the flags of an account in words.
func accountFlags(name string, n uint64) Value {
	set := wordsOf(n, flag{luascripts.AccountFrozen, "frozen"}, flag{luascripts.AccountClosed, "closed"}, flag{luascripts.AccountSettings, "settings"}, flag{luascripts.AccountWindow, "window"}, flag{luascripts.AccountLimits, "limits"})
	return valueOf(name, n, strings.TrimSpace(fmt.Sprintf("%08b %s", n, strings.Join(set, ", "))))
}

// bits shows a set of levels.
func bits(name string, n uint64) Value { return valueOf(name, n, fmt.Sprintf("%08b", n)) }

// holdSerial shows the serial of a hold.
func holdSerial(name string, n uint64) Value {
	if n < luascripts.SeveralLevels {
		return valueOf(name, n)
	}
	n -= luascripts.SeveralLevels
	return valueOf(name, n, fmt.Sprintf("%d (the largest of its levels and limits)", n))
}

// words shows a letter by its word.
func words(known map[byte]string) func(name string, n uint64) Value {
	return func(name string, n uint64) Value {
		if word, ok := known[byte(n)]; ok { //nolint:gosec // one byte
			return valueOf(name, word, fmt.Sprintf("%s (%c)", word, byte(n))) //nolint:gosec // as above
		}
		return valueOf(name, "unknown", fmt.Sprintf("unknown (%q)", byte(n))) //nolint:gosec // as above
	}
}

// layoutOf lists parts that follow each other.
func layoutOf(parts ...part) []part { return layoutAt(0, parts...) }

// layoutAt lists parts that follow each other from an offset on.
func layoutAt(offset int, parts ...part) []part {
	for i := range parts {
		parts[i].offset = offset
		offset += parts[i].bytes
	}
	return parts
}

// The records as ledger.lua describes them.
var (
	accountParts = layoutOf(
		part{"granted", 0, 8, amount}, part{"remaining", 0, 8, amount}, part{"reserved", 0, 8, amount}, part{"committed", 0, 8, amount},
		part{"open holds counted", 0, 4, plain}, part{"serial", 0, 6, plain}, part{"no older hold due before", 0, 6, instant},
		part{"no younger hold due before", 0, 6, instant}, part{"older holds counted", 0, 4, plain}, part{"last sequence of older holds", 0, 6, plain}, part{"flags", 0, 1, accountFlags})
	settingsParts = layoutAt(luascripts.AccountBytes,
		part{"overdraft", 0, 8, amount}, part{"cap of a hold", 0, 8, amount}, part{"cap of the reserved amount", 0, 8, amount},
		part{"cap of open holds", 0, 4, plain}, part{"number of thresholds", 0, 1, plain})
	// windowParts begin after the settings, of which thresholds are a part.
	windowParts = []part{
		{"period", 0, 1, period}, {"first day", 1, 1, plain}, {"carry-over", 2, 8, carry}, {"amount of an epoch", 10, 8, amount},
		{"epoch began", 18, 6, instant}, {"boundaries missing from", 24, 6, instant}, {"reserved in ended epochs", 30, 8, amount},
		{"length of the zone", 38, 1, plain}, {"boundaries ahead", 39, 1, plain}, {"ended epochs kept", 40, 2, plain},
	}
	rollingNames = map[string]string{
		"amount of an epoch": "amount", "epoch began": "first window since", "boundaries missing from": "last part began",
	}
	epochParts = layoutOf(
		part{"granted", 0, 8, amount}, part{"remaining", 0, 8, amount}, part{"reserved", 0, 8, amount}, part{"committed", 0, 8, amount},
		part{"passed on", 0, 8, amount}, part{"ended", 0, 6, instant})
	controlParts = layoutOf(
		part{"time", 0, 6, instant}, part{"no timer due before", 0, 6, instant}, part{"sequence", 0, 6, plain}, part{"last serial", 0, 6, plain},
		part{"next record of settled holds", 0, 6, plain}, part{"oldest record of settled holds", 0, 6, plain},
		part{"settled holds remembered", 0, 4, plain}, part{"next record of expired holds", 0, 6, plain})
	sessionParts = layoutOf(
		part{"state", 0, 1, words(sessionStates)}, part{"last batch", 0, 8, plain}, part{"digest", 0, 8, digest}, part{"time", 0, 6, instant})
	repairParts = append(slices.Clone(sessionParts), part{"last batch before the repair", luascripts.SessionBytes, 8, plain})
	openParts   = layoutOf(
		part{"state", 0, 1, words(holdStates)}, part{"held", 0, 8, amount}, part{"account serial", 0, 6, holdSerial}, part{"sequence", 0, 6, plain},
		part{"made", 0, 6, instant}, part{"deadline", 0, 6, instant}, part{"levels", 0, 1, bits})
	tombstoneParts = layoutOf(
		part{"state", 0, 1, words(holdStates)}, part{"held", 0, 8, amount}, part{"account serial", 0, 6, holdSerial}, part{"sequence", 0, 6, plain},
		part{"made", 0, 6, instant}, part{"ended", 0, 6, instant}, part{"sequence of its end", 0, 6, plain},
		part{"committed", 0, 8, amount}, part{"levels", 0, 1, bits})

	sessionStates = map[byte]string{
		luascripts.SessionNew: "opened, no batch yet", luascripts.SessionApplied: "applied",
		luascripts.SessionRepairing: "more of a repair follows", luascripts.SessionClosed: "closed",
	}
	holdStates = map[byte]string{
		luascripts.HoldOpen: "open", luascripts.HoldCommitted: "committed", luascripts.HoldReleased: "released", luascripts.HoldExpired: "expired",
	}
)

func valuesOf(parts []part, record string) Values {
	values := make(Values, len(parts))
	for i, p := range parts {
		values[i] = p.value(record)
	}
	return values
}

// decode returns a record in words, as far as it goes, and its damage if there is one.
func decode(field, record string) (Values, Kind, error) {
	switch {
	case field == store.HeaderField:
		return decodeHeader(record)
	case field == store.ControlField:
		_, err := store.ParseControl(record)
		return valuesOf(controlParts, record), store.DamagedControl, err
	case field[0] == luascripts.FieldAccount:
		return decodeAccount(record)
	case field[0] == luascripts.FieldHold:
		return decodeHold(record)
	case field[0] == luascripts.FieldSession:
		return decodeSession(record)
	case field[0] == luascripts.FieldReply:
		return decodeReply(record)
	case field[0] == luascripts.FieldEpoch:
		_, err := store.ParseEpoch(record)
		return valuesOf(epochParts, record), store.DamagedEpoch, err
	default:
		return Values{}, store.UnknownField, nil
	}
}

func decodeHeader(record string) (Values, Kind, error) {
	h, err := store.ParseHeader(record)
	if err != nil || h.Partitions == 0 {
		return Values{valueOf("text", record, fmt.Sprintf("%q", record))}, store.DamagedHeader, err
	}
	return Values{
		valueOf("layout", h.Layout), valueOf("partitions", h.Partitions), valueOf("index", h.Index), valueOf("incarnation", h.Incarnation),
	}, store.DamagedHeader, nil
}

func decodeAccount(record string) (Values, Kind, error) {
	account, ok, err := store.ParseAccount(record)
	if err == nil && !ok {
		return Values{valueOf("state", "deleted", "deleted; the field goes with the next delete")}, store.DamagedAccount, nil
	}
	values := valuesOf(accountParts, record)
	if len(record) > luascripts.AccountBytes {
		values = append(values, valuesOf(settingsParts, record)...)
		if percents := account.Settings.Thresholds.Percents(); len(percents) > 0 {
			values = append(values, valueOf("thresholds", percents, account.Settings.Thresholds.String()+" %"))
		}
		values = append(values, windowOf(record)...)
		if limits := account.Settings.Limits; limits != 0 {
			values = append(values, valueOf("further limits", limits, limits.String()))
		}
	}
	if err != nil {
		return values, store.DamagedAccount, err
	}
	if text := account.BalanceText(); text != "" {
		return values, store.UnbalancedAccount, fmt.Errorf("%w: %s", store.ErrDamaged, text)
	}
	return values, store.DamagedAccount, nil
}

// windowOf shows the window of an account, as far as the record goes.
func windowOf(record string) Values {
	const countAt = luascripts.AccountBytes + luascripts.SettingsBytes - 1
	if record[luascripts.AccountBytes-1]&luascripts.AccountWindow == 0 || len(record) <= countAt {
		return nil
	}
	record = record[min(countAt+1+2*int(record[countAt]), len(record)):]
	values := valuesOf(windowParts, record)
	p := budget.NoPeriod
	if record != "" {
		p = budget.Period(record[0])
	}
	for i := range values {
		if name, ok := rollingNames[values[i].Name]; ok && p.Rolling() {
			values[i].Name = name
		}
	}
	if len(record) < luascripts.WindowBytes {
		return values
	}
	last := part{"", 24, 6, instant}.value(record)
	zone, ahead, kept := int(record[38]), int(record[39]), int(record[40])<<8|int(record[41])
	record = record[luascripts.WindowBytes:]
	values = append(values, valueOf("zone", record[:min(zone, len(record))]))
	record = record[min(zone, len(record)):]
	for i := 0; i < ahead+kept && len(record) >= 6; i++ {
		name := fmt.Sprintf("boundary %d", i+1)
		if i >= ahead {
			name = fmt.Sprintf("ended epoch %d began", i-ahead+1)
		}
		values = append(values, part{name, 0, 6, instant}.value(record))
		record = record[6:]
	}
	if p.Rolling() {
		values = append(values, ringOf(p, last.Value.(int64), record)...) //nolint:forcetypeassert // an instant
	}
	return values
}

// ringOf shows what is committed in each part of a rolling window, of which the last one began at
// a time, as far as the record goes. Parts without an amount are only counted.
func ringOf(p budget.Period, last int64, ring string) Values {
	parts, length := p.Parts()
	values := Values{valueOf("parts", parts+1, fmt.Sprintf("%d of %d h", parts+1, length/time.Hour))}
	for place := 0; place <= parts; place++ {
		began := last - int64(parts-place)*length.Milliseconds()
		committed := part{fmt.Sprintf("part %d from %s", place+1, budget.Instant(began)), 8 * place, 8, amount}.value(ring)
		if committed.Value != budget.Microcents(0) {
			values = append(values, committed)
		}
	}
	return values
}

// period shows the period of a window; without one the window was removed.
func period(name string, n uint64) Value {
	p := budget.Period(n) //nolint:gosec // one byte
	return valueOf(name, p.String(), fmt.Sprintf("%s (%d)", p, n))
}

// carry shows the most that an epoch passes on.
func carry(name string, n uint64) Value {
	if budget.Microcents(n) == budget.CarryAll { //nolint:gosec // its 64 bits
		return valueOf(name, budget.CarryAll, "all that remains")
	}
	return amount(name, n)
}

func decodeHold(record string) (Values, Kind, error) {
	hold, err := store.ParseHold(record)
	parts, fixed := tombstoneParts, luascripts.TombstoneBytes
	if record == "" || record[0] == luascripts.HoldOpen {
		parts, fixed = openParts, luascripts.HoldBytes
	}
	values := valuesOf(parts, record)
	if err == nil {
		values[len(values)-1] = levelsOf(hold)
	}
	if len(record) > fixed {
		values = append(values, valueOf("tenant", record[fixed:], fmt.Sprintf("%q", record[fixed:])))
	}
	return values, store.DamagedHold, err
}

// levelsOf shows which accounts the hold debited.
func levelsOf(hold store.Hold) Value {
	var levels []budget.TenantID
	var text []string
	for _, level := range store.LevelsOf(hold.Tenant, hold.Levels) {
		levels, text = append(levels, level), append(text, fmt.Sprintf("%q", level))
	}
	return valueOf("levels", levels, strings.Join(text, ", "))
}

func decodeSession(record string) (Values, Kind, error) {
	parts, end := sessionParts, luascripts.SessionBytes
	if record != "" && record[0] == luascripts.SessionRepairing {
		parts, end = repairParts, luascripts.SessionBytes+8
	}
	values := valuesOf(parts, record)
	if len(record) > end {
		values = append(values, codesOf(record[end:]))
	}
	return values, store.DamagedSession, store.Session(record).Check()
}

// codesOf shows the codes of a batch.
func codesOf(text string) Value {
	var codes []string
	for _, code := range []byte(text) {
		codes = append(codes, codeWords[code])
	}
	return valueOf("codes", codes, counted(codes))
}

// The kinds of fields, in the order in which they are counted.
var kindNames = []string{
	"accounts", "further limits", "open holds", "committed holds", "released holds", "expired holds", "sessions", "stored replies",
	"records of settled holds", "records of expired holds", "ended epochs", "other fields",
}

func kindOf(field, record string) string {
	switch field[0] {
	case luascripts.FieldAccount:
		if id, _ := store.AccountOfField(field); id.Limit != budget.NoPeriod {
			return "further limits"
		}
		return "accounts"
	case luascripts.FieldHold:
		if word, ok := holdStates[(record + "?")[0]]; ok {
			return word + " holds"
		}
	case luascripts.FieldSession:
		return "sessions"
	case luascripts.FieldReply:
		return "stored replies"
	case luascripts.FieldRing:
		return "records of settled holds"
	case luascripts.FieldEndings:
		return "records of expired holds"
	case luascripts.FieldEpoch:
		return "ended epochs"
	}
	return "other fields"
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// codeWords are the codes of a reply in words.
var codeWords = map[byte]string{
	luascripts.CodeReserved: "reserved", luascripts.CodeInsufficient: "insufficient", luascripts.CodeNoTenant: "no tenant",
	luascripts.CodeCommitted: "committed", luascripts.CodeReleased: "released", luascripts.CodeOverrun: "overrun",
	luascripts.CodeNoHold: "no hold", luascripts.CodeWasCommitted: "was committed", luascripts.CodeWasReleased: "was released",
	luascripts.CodeWasExpired: "was expired", luascripts.CodeCreated: "created", luascripts.CodeExists: "exists",
	luascripts.CodeGranted: "granted", luascripts.CodeOverflow: "overflow", luascripts.CodeWithdrawn: "withdrawn",
	luascripts.CodeBalance: "balance", luascripts.CodeRemaining: "remaining", luascripts.CodeMemory: "out of memory",
	luascripts.CodeKnown: "known", luascripts.CodeNotKnown: "not known", luascripts.CodeDeleted: "deleted",
	luascripts.CodeHoldsOpen: "holds open", luascripts.CodeHoldsFull: "too many holds", luascripts.CodeLost: "lost",
	luascripts.CodeMerged: "merged", luascripts.CodeMergedOver: "merged over another end", luascripts.CodeAsHigh: "nothing to merge",
	luascripts.CodeForgotten: "forgotten", luascripts.CodeOverdue: "overdue", luascripts.CodeCorrupt: "corrupt",
	luascripts.CodeConfigured: "configured", luascripts.CodeClosed: "closed", luascripts.CodeFrozen: "frozen", luascripts.CodeCapped: "capped",
	luascripts.CodeRenewed: "renewed", luascripts.CodeEpoch: "epoch", luascripts.CodeNoEpoch: "no epoch", luascripts.CodeWindow: "boundaries are missing",
	luascripts.CodeLimitList: "limits", luascripts.CodeLimitsFull: "too many limits", luascripts.CodeNoLimit: "no limit", luascripts.CodeLimits: "limits are missing",
}

var replyParts = []part{{"time", 1, 6, instant}, {"flags", 7, 1, replyFlags}}

func replyFlags(name string, n uint64) Value {
	set := wordsOf(n, flag{luascripts.FlagMoreDue, "more is due"}, flag{luascripts.FlagNotWhole, "the timers are not whole"},
		flag{luascripts.FlagDamageFound, "damage was found"}, flag{luascripts.FlagCrossed, "thresholds were crossed"}, flag{luascripts.FlagWindows, "windows"}, flag{luascripts.FlagLimits, "limits"})
	if len(set) == 0 {
		return valueOf(name, set, "none")
	}
	return valueOf(name, set, strings.Join(set, ", "))
}

// decodeReply shows the stored reply to a batch. How many operations it answers is not
// stored: the codes are the longest row of them that the rest of the reply fits.
func decodeReply(record string) (Values, Kind, error) {
	values := valuesOf(replyParts, record)
	if len(record) < 8 || record[0] != store.WordApplied {
		return values, store.DamagedReply, fmt.Errorf("%w: %d bytes that begin with %.8q", store.ErrDamaged, len(record), record)
	}
	return values, store.DamagedReply, nil
}

// counted says codes that follow each other once.
func counted(codes []string) string {
	var text []string
	for i := 0; i < len(codes); {
		n := 1
		for i+n < len(codes) && codes[i+n] == codes[i] {
			n++
		}
		if n == 1 {
			text = append(text, codes[i])
		} else {
			text = append(text, fmt.Sprintf("%d × %s", n, codes[i]))
		}
		i += n
	}
	if len(text) == 0 {
		return "none"
	}
	return strings.Join(text, ", ")
}
