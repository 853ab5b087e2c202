package budget

import (
	"encoding/json"
	"errors"
	"math"
	"net/url"
	"strings"
	"testing"
)

var ids = []ReservationID{
	NewReservationID("acme", 0, 0), NewReservationID("acme/search", 1, math.MaxUint64),
	NewReservationID("Zoë {x}%/~.a", math.MaxUint64, 1<<10), NewReservationID("a-b_c", 7, 8),
}

func TestReservationIDsHaveOneText(t *testing.T) {
	t.Parallel()
	for _, id := range ids {
		text := id.String()
		if got, err := ParseReservationID(text); err != nil || got != id {
			t.Errorf("%q parses as %v, %v", text, got, err)
		}
		if escaped := url.PathEscape(text); escaped != text {
			t.Errorf("%q is not safe in a URL: %q", text, escaped)
		}
		for cut := range len(text) {
			if got, err := ParseReservationID(text[:cut]); !errors.Is(err, ErrInvalidReservationID) {
				t.Errorf("cut short to %q: %v, %v", text[:cut], got, err)
			}
		}
		encoded, err := json.Marshal(id)
		var decoded ReservationID
		if err != nil || json.Unmarshal(encoded, &decoded) != nil || decoded != id {
			t.Errorf("%v became %s and %v", id, encoded, decoded)
		}
	}
	digits := strings.Repeat("0", 32)
	for _, text := range []string{
		"", "." + digits, "acme" + digits, "acme." + strings.Repeat("0", 31) + "A", "acme." + strings.Repeat("0", 31) + "g",
		"acme." + digits + "0", "ac me." + digits, "acme~2." + digits, "acme~2F." + digits, "~61cme." + digits, "a~2f~2fb." + digits,
		"acme." + digits + ".x", "~0a." + digits,
	} {
		if got, err := ParseReservationID(text); !errors.Is(err, ErrInvalidReservationID) {
			t.Errorf("ParseReservationID(%q) = %v, %v", text, got, err)
		}
	}
}

func TestZeroReservationIDNamesNothing(t *testing.T) {
	t.Parallel()
	var zero ReservationID
	if !zero.IsZero() || zero.String() != "" || !errors.Is(zero.Validate(), ErrInvalidReservationID) {
		t.Errorf("zero id: %q, %v", zero, zero.Validate())
	}
	if err := zero.UnmarshalText(nil); err != nil || !zero.IsZero() {
		t.Errorf("empty text: %v", err)
	}
}

func FuzzParseReservationID(f *testing.F) {
	for _, id := range ids {
		f.Add(id.String())
	}
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := ParseReservationID(text); err == nil && id.String() != text {
			t.Errorf("%q parses as an id that prints as %q", text, id)
		}
	})
}
