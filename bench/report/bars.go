package report

import (
	"slices"

	"github.com/calybris/bursar/coordinator/wording"
)

// bar is one contender's row: its rate, against ours, and what money it lost.
type bar struct {
	Series       int
	Name         string
	Describe     string
	Rate         string
	Spread       string
	Width        float64 // shares of the widest
	Lowest, Most float64
	Cut          bool   // it is longer than there is room for
	Ratio        string // ours to theirs; "" of ours
	RatioSpread  string
	Money        string
	By           string // how many tenants
	Overspent    bool
}

// bars are all contenders' rows, if there is anything to compare. The one that is many times as fast as all others,
// an engine in this process, is cut, so that the others can be told apart.
func bars(all []Contender) []bar {
	if len(all) < 2 {
		return nil
	}
	const room = 1.02 // of the longest, so that its spread ends within
	longest := room * longestShown(all)
	share := func(rate float64) float64 { return min(rate/longest, 1) }
	rows := make([]bar, len(all))
	for i, c := range all {
		rate := c.DecisionsPerSecond
		rows[i] = bar{
			Series: i, Name: c.Name, Describe: c.Describe, Rate: Count(rate.Median), Spread: between(rate, Short),
			Width: share(rate.Median), Lowest: share(rate.Lowest), Most: share(rate.Most),
			Cut: rate.Median > longest, Overspent: c.Money.Overspent > 0,
		}
		if i > 0 {
			rows[i].Ratio, rows[i].RatioSpread = significant(c.Ratio.Median), between(c.Ratio, significant)
		}
		switch {
		case c.Money.Overspent > 0:
			rows[i].Money, rows[i].By = "overspent "+c.Money.Overspent.String(), "by "+wording.Count(c.Money.Tenants, "tenant")
		case c.Money.Kept:
			rows[i].Money = "overspent nothing"
		default:
			rows[i].Money = "keeps no books"
		}
	}
	return rows
}

// between is "" where there is but one round.
func between(s Spread, say func(float64) string) string {
	if s.Lowest == s.Most {
		return ""
	}
	return say(s.Lowest) + " to " + say(s.Most)
}

func longestShown(all []Contender) float64 {
	const tooMany = 3
	var rates []float64
	for _, c := range all {
		rates = append(rates, max(c.DecisionsPerSecond.Median, c.DecisionsPerSecond.Most))
	}
	slices.Sort(rates)
	last := len(rates) - 1
	if last > 0 && rates[last-1] > 0 && rates[last] > tooMany*rates[last-1] {
		return rates[last-1]
	}
	return max(rates[last], 1)
}
