package main

import (
	"slices"
	"strings"
)

// benchPlan is what is measured, in this order.
type benchPlan struct {
	cases    []benchCase
	absences []absence
	lag      bool
}

// planOf is the measurement called text, or else all that have text in their names.
func planOf(text string) benchPlan {
	p := wholePlan().only(func(name string) bool { return name == text })
	if p.steps() == 0 {
		p = wholePlan().only(func(name string) bool { return strings.Contains(name, text) })
	}
	return p
}

func wholePlan() benchPlan { return benchPlan{benchCases(), absences(), true} }

func (p benchPlan) only(wanted func(name string) bool) benchPlan {
	p.cases = slices.DeleteFunc(p.cases, func(c benchCase) bool { return !wanted(c.name) })
	p.absences = slices.DeleteFunc(p.absences, func(a absence) bool { return !wanted(a.name) })
	p.lag = p.lag && wanted(lagName)
	return p
}

// steps is how many measurements there are.
func (p benchPlan) steps() int {
	n := len(p.cases) + len(p.absences)
	if p.lag {
		n++
	}
	return n
}
