package audit

import (
	"fmt"
	"strings"

	"github.com/calybris/bursar/coordinator/budget"
	"github.com/calybris/bursar/coordinator/internal/store"
)

// Kind classifies damages. Its values are stable; package store lists them.
type Kind = store.DamageKind

// WholePrefix is the Partition of a damage that concerns the whole prefix.
const WholePrefix = -1

// Damage describes stored state that no node writes.
type Damage struct {
	Partition int             `json:"partition"`
	Kind      Kind            `json:"kind"`
	Subject   string          `json:"subject"`           // the damaged record, in words
	Tenant    budget.TenantID `json:"tenant,omitempty"`  // "" if unknown
	Limit     budget.Period   `json:"limit,omitzero"`    // of the tenant; NoPeriod for its base limit, and for other records
	Figures   *Figures        `json:"figures,omitempty"` // of a damaged account, if readable
	What      string          `json:"what"`
	Remedy    string          `json:"remedy"`

	field string
}

// Figures are those of an account at one sequence of its partition. Remaining + reserved
// + committed should be granted, Sum should be reserved, and Holds should be Counted.
type Figures struct {
	Granted   budget.Microcents `json:"granted"`
	Remaining budget.Microcents `json:"remaining"`
	Reserved  budget.Microcents `json:"reserved"`
	Committed budget.Microcents `json:"committed"`
	Counted   uint32            `json:"counted"`
	Sum       uint64            `json:"sum"`
	Holds     int               `json:"holds"`
	Sequence  uint64            `json:"sequence"`
}

// String returns the damage in one line.
func (d Damage) String() string {
	where := ""
	if d.Partition != WholePrefix {
		where = fmt.Sprintf("partition %d: ", d.Partition)
	}
	return fmt.Sprintf("%s%s: %s; %s", where, d.Subject, d.What, d.Remedy)
}

// remedies are the remedies for damages; %s is the key.
var remedies = map[Kind]string{
	store.DamagedHeader:     "nodes refuse the partition: restore field f of key %s from a backup",
	store.DamagedControl:    "nodes refuse the partition: restore field c of key %s from a backup",
	store.DamagedAccount:    "operations on the tenant are refused: find out what else writes to key %s, and restore the account from a backup",
	store.UnbalancedAccount: "operations on the tenant are refused: find out what else writes to key %s, and restore the account from a backup",
	store.WrongSum:          "find out what else writes to key %s, and compare the account and its holds with a backup: one of them was changed",
	store.WrongDeadline:     "find out what else writes to key %s: until the hold ends, an operation on the tenant may be decided before it",
	store.SharedSerial:      "find out what else writes to key %s: settle the holds of one of the tenants, delete it and ensure it again",
	store.MisplacedAccount:  "no node reads it there: find out what else writes to key %s, and delete the field or restore it where it belongs",
	store.DamagedHold:       "no node settles or ends it: find out what else writes to key %s, and restore it from a backup",
	store.OrphanedHold:      "it holds no account's money: find out what else writes to key %s, and delete the field",
	store.UntimedHold:       "no node ends it at its deadline: delete the timers that belong to key %s, and nodes rebuild them at once",
	store.DamagedSession:    "the node is refused in this partition: find out what else writes to key %s, restart the node, and delete the field",
	store.DamagedReply:      "find out what else writes to key %s; the node's next batch replaces the reply",
	store.DamagedEndings:    "tombstones that it named may stay for ever: find out what else writes to key %s, and restore it from a backup",
	store.DamagedEpoch:      "holds that were made in the epoch can't settle: find out what else writes to key %s, and restore the record from a backup",
	store.OrphanedLimit:     "find out what else writes to key %s, and set the limit again, or delete the field",
	store.OrphanedEpoch:     "find out what else writes to key %s, and delete the field",
	store.WrongEnded:        "find out what else writes to key %s, and compare the account and its ended epochs with a backup: one of them was changed",
	store.UnknownField:      "find out what else writes to key %s, and delete the field",
	store.IncompleteTimers:  "deadlines wait until the timers of key %s are rebuilt: the next batch of any node begins with it",
	store.WrongDue:          "find out what else writes to key %s: a reserve with a hold TTL of a second ends overdue holds",
	store.LostLedger:        "the partition is lost: restore key %s from a backup, then restart the nodes",
	store.WrongType:         "another program writes to key %s: give it another place, and restore the key from a backup",
	store.DamagedRecord:     "the next node that starts restores key %s if it is missing; otherwise restore it from a backup",
	store.UnknownLayout:     "use the program that wrote key %s, or another prefix",
	store.MixedPartitions:   "budgets may exist twice: stop the nodes, and restore a backup in which key %s and all partitions agree",
}

func remedyOf(kind Kind, key string) string { return strings.ReplaceAll(remedies[kind], "%s", key) }
