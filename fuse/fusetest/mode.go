package fusetest

import (
	"fmt"
	"os"

	"weir/fuse"
)

// passthroughVar in the environment says which mounts have FUSE passthrough.
const passthroughVar = "WEIR_PASSTHROUGH"

// Passthrough says which mounts have FUSE passthrough.
type Passthrough struct{ Primary, Replica fuse.Passthrough }

// passthroughs are the values by name. true and false are for a flag that is given like a bool.
var passthroughs = map[string]Passthrough{
	"":        {fuse.PassthroughOn, fuse.PassthroughOn},
	"on":      {fuse.PassthroughOn, fuse.PassthroughOn},
	"true":    {fuse.PassthroughOn, fuse.PassthroughOn},
	"off":     {fuse.PassthroughOff, fuse.PassthroughOff},
	"false":   {fuse.PassthroughOff, fuse.PassthroughOff},
	"primary": {fuse.PassthroughOn, fuse.PassthroughOff},
	"replica": {fuse.PassthroughOff, fuse.PassthroughOn},
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
