package fuse

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"

	"weir/fuse/internal/scrub"
)

// mount mounts first and opens the databases then, while apps wait at the gate:
// nobody can open one unseen. Where the mount of a dead daemon hides them it
// stays until they are open.
func (m *Mounts) mount(cfg Config) (err error) {
	if m.mounting, err = chooseMounting(cfg.Logger); err != nil {
		return err
	}
	if err := m.mounting.open(m, cfg); err != nil {
		return err
	}
	for _, d := range m.dirs {
		if err := d.choosePassthrough(cfg.Passthrough); err != nil {
			return err
		}
	}
	for _, d := range m.dirs {
		if err := d.begin(); err != nil {
			return fmt.Errorf("mount %s: %w", d.path, err)
		}
	}
	targets := m.targets()
	for _, db := range cfg.Databases {
		if err := m.directory(db).add(db, targets); err != nil {
			return err
		}
	}
	for _, d := range m.dirs {
		if err := errors.Join(d.identify(), d.scan(targets), d.scanReplicas()); err != nil {
			return err
		}
	}
	for _, d := range m.dirs {
		if err := d.replaceStale(); err != nil {
			return fmt.Errorf("mount %s: %w", d.path, err)
		}
	}
	m.decide(fuse.OK)
	return nil
}

// openAll opens none before weirs' mounts are away from all: a clone has what is
// mounted in it.
func (m *Mounts) openAll(cfg Config, below bool) error {
	groups := byDirectory(cfg)
	targets := make([]string, len(groups))
	for i, g := range groups {
		var err error
		if targets[i], err = locate(g.path, below); err != nil {
			return err
		}
	}
	for i, g := range groups {
		d, err := openDirectory(g.path, targets[i], g.replica, below, cfg.Logger)
		if err != nil {
			return err
		}
		d.mounting, d.guard, d.patterns = m.mounting, m.guard, g.patterns
		if g.replica && len(g.patterns) > 0 {
			d.followers = newFollowers(d, cfg)
		}
		d.passAtOnce = cfg.PassAtOnce
		d.scrub = scrub.Timing{After: cfg.ScrubEvery, Every: cfg.ScrubEvery}
		m.dirs = append(m.dirs, d)
	}
	return nil
}

// checkStale looks for dead mounts. What is in a directory with one is replaced
// with it. One that is in a directory without is taken away at once.
func (m *Mounts) checkStale() error {
	for _, d := range m.dirs {
		if err := d.checkStale(); err != nil {
			return err
		}
	}
	for _, d := range m.dirs {
		outer := m.around(d)
		if outer == nil {
			continue
		}
		if d.stale && !outer.stale {
			if err := uncover(d.target); err != nil {
				return err
			}
		}
		d.stale = outer.stale
	}
	return nil
}

// around is the directory of ours that d is in, or nil.
func (m *Mounts) around(d *directory) (outer *directory) {
	for _, other := range m.dirs {
		if other != d && strings.HasPrefix(d.target, strings.TrimSuffix(other.target, "/")+"/") {
			outer = other
		}
	}
	return outer
}

func (m *Mounts) targets() (all []string) {
	for _, d := range m.dirs {
		all = append(all, d.target)
	}
	return all
}

// decide lets apps in, or has them fail.
func (m *Mounts) decide(status fuse.Status) {
	for _, d := range m.dirs {
		if d.sb != nil {
			d.sb.gate.decide(status)
		}
	}
}
