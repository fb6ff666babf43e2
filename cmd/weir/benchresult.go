package main

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"
)

// benchReport is what a run measured.
type benchReport struct {
	Results  []benchResult   `json:"results"`
	CatchUps []*benchCatchUp `json:"catchUps,omitempty"`
	Lags     []*benchLag     `json:"lags,omitempty"`
}

// print prints what was measured, each kind apart.
func (r *benchReport) print(out io.Writer) error {
	var parts []string
	for _, print := range []func(io.Writer) error{
		func(out io.Writer) error { return printResults(out, r.Results) },
		func(out io.Writer) error { return printCatchUps(out, r.CatchUps) },
		func(out io.Writer) error { return printLags(out, r.Lags) },
	} {
		var part strings.Builder
		if err := print(&part); err != nil {
			return err
		}
		if part.Len() > 0 {
			parts = append(parts, part.String())
		}
	}
	_, err := io.WriteString(out, strings.Join(parts, "\n"))
	return err
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

// printResults prints a line for each measurement, and a column for each place where something was measured.
func printResults(out io.Writer, results []benchResult) error {
	if len(results) == 0 {
		return nil
	}
	var places []string
	for _, place := range []string{benchFloor, benchPrimary, benchReplica} {
		if slices.ContainsFunc(results, func(r benchResult) bool { return r.Place == place }) {
			places = append(places, place)
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "measurement\tbare\t")
	for _, place := range places {
		fmt.Fprintf(w, "%s\tratio\t", place)
	}
	fmt.Fprintln(w, "\t")
	for row := range byName(results) {
		printRow(w, row, places)
	}
	return w.Flush()
}

// byName are the results of each measurement.
func byName(results []benchResult) iter.Seq[[]benchResult] {
	return func(yield func([]benchResult) bool) {
		for from, i := 0, 1; i <= len(results); i++ {
			if i == len(results) || results[i].Place == benchBare {
				if !yield(results[from:i]) {
					return
				}
				from = i
			}
		}
	}
}

func printRow(w io.Writer, row []benchResult, places []string) {
	fmt.Fprintf(w, "%s\t%s\t", row[0].Name, thousands(int64(row[0].Rate)))
	for _, place := range places {
		i := slices.IndexFunc(row, func(r benchResult) bool { return r.Place == place })
		if i < 0 {
			fmt.Fprint(w, "\t\t")
			continue
		}
		fmt.Fprintf(w, "%s\t%.2f\t", thousands(int64(row[i].Rate)), row[i].Ratio)
	}
	fmt.Fprintf(w, " %s\t\n", row[0].Unit)
}
