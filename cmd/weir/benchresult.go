package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// benchReport is what a run measured.
type benchReport struct {
	Results []benchResult `json:"results"`
	Lag     *benchLag     `json:"lag,omitempty"`
}

func (r *benchReport) print(out io.Writer) error {
	if err := printResults(out, r.Results); err != nil || r.Lag == nil {
		return err
	}
	return r.Lag.print(out)
}

// benchResult is one measurement in one place.
type benchResult struct {
	Name  string    `json:"name"`
	Place string    `json:"place"`
	Unit  string    `json:"unit"`
	Rates []float64 `json:"rates"` // one a round
	Rate  float64   `json:"rate"`  // their median
	Ratio float64   `json:"ratio"` // median of the rounds' ratios to the plain directory
}

// compare sets the medians, given the rates of the plain directory in the same rounds.
func (r *benchResult) compare(bare benchResult) {
	ratios := make([]float64, len(r.Rates))
	for i, rate := range r.Rates {
		ratios[i] = rate / bare.Rates[i]
	}
	r.Rate, r.Ratio = median(r.Rates), median(ratios)
}

// median of at least one value.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// printResults prints a line for each measurement.
func printResults(out io.Writer, results []benchResult) error {
	if len(results) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "measurement\tbare\tprimary\tratio\treplica\tratio\t\t")
	for len(results) > 0 {
		n := 1
		for n < len(results) && results[n].Name == results[0].Name {
			n++
		}
		printRow(w, results[:n])
		results = results[n:]
	}
	return w.Flush()
}

func printRow(w io.Writer, row []benchResult) {
	fmt.Fprintf(w, "%s\t%s\t", row[0].Name, thousands(int64(row[0].Rate)))
	for _, place := range []string{benchPrimary, benchReplica} {
		i := slices.IndexFunc(row, func(r benchResult) bool { return r.Place == place })
		if i < 0 {
			fmt.Fprint(w, "\t\t")
			continue
		}
		fmt.Fprintf(w, "%s\t%.2f\t", thousands(int64(row[i].Rate)), row[i].Ratio)
	}
	fmt.Fprintf(w, " %s\t\n", row[0].Unit)
}
