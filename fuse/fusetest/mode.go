package fusetest

import (
	"fmt"
	"os"
)

// passthroughVar in the environment says which mounts have FUSE passthrough.
const passthroughVar = "WEIR_PASSTHROUGH"

// Passthrough says which mounts have FUSE passthrough. The zero value is both sides'.
type Passthrough struct{ NoPrimary, NoReplica bool }

// passthroughs are the values by name. true and false are for a flag that is given like a bool.
var passthroughs = map[string]Passthrough{
	"":        {},
	"on":      {},
	"true":    {},
	"off":     {NoPrimary: true, NoReplica: true},
	"false":   {NoPrimary: true, NoReplica: true},
	"primary": {NoReplica: true},
	"replica": {NoPrimary: true},
}

// UnmarshalText implements [encoding.TextUnmarshaler]: on, off, or the one side that has it.
func (p *Passthrough) UnmarshalText(text []byte) error {
	var ok bool
	if *p, ok = passthroughs[string(text)]; !ok {
		return fmt.Errorf("no passthrough %q: say on, off, primary or replica", text)
	}
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (p Passthrough) MarshalText() ([]byte, error) {
	for _, name := range []string{"on", "off", "primary", "replica"} {
		if passthroughs[name] == p {
			return []byte(name), nil
		}
	}
	panic("no other value")
}

// PassthroughOfEnvironment is what WEIR_PASSTHROUGH asks for, by default passthrough on both sides.
func PassthroughOfEnvironment() (p Passthrough) {
	if err := p.UnmarshalText([]byte(os.Getenv(passthroughVar))); err != nil {
		fmt.Fprintf(os.Stderr, "FAIL: %s: %v\n", passthroughVar, err)
		os.Exit(1)
	}
	return p
}
