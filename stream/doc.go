// Package stream carries a database's transactions from where they are
// captured to where they are applied.
package stream
