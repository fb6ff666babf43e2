package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// commentedOut is the sign before a setting of weir.yml that is commented out. Before other comments there is one space after it.
var commentedOut = regexp.MustCompile(`(?m)^#(\S|  )`)

// index is the number of an entry in the name of a key.
var index = regexp.MustCompile(`\[\d+\]`)

// The sample configuration is sound as it is and with all settings, and it has every key that weir knows.
func TestSamples(t *testing.T) {
	const file = "deploy/weir.yml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := parseConfig(file, data, nil)
	if err != nil || len(conf.Warnings) > 0 {
		t.Fatalf("as it is: %v %q", err, conf.Warnings)
	}
	root, err := parseYAML(file, commentedOut.ReplaceAll(data, []byte("$1")))
	if err != nil {
		t.Fatalf("with all settings: %v", err)
	}
	r := &configReader{file: file, known: map[string]bool{}}
	conf = r.config(root)
	if err := errors.Join(append(r.errs, conf.check())...); err != nil || len(r.warnings) > 0 {
		t.Errorf("with all settings: %v %q", err, r.warnings)
	}
	had := map[string]bool{}
	for key, there := range r.known {
		key = index.ReplaceAllString(key, "")
		had[key] = had[key] || there
	}
	for _, key := range slices.Sorted(maps.Keys(had)) {
		if !had[key] {
			t.Errorf("%s does not show the key %s", file, key)
		}
	}
	if len(had) < 20 {
		t.Errorf("only %d keys are known: %v", len(had), had)
	}
}

// composed is what is looked at of a Compose file.
type composed struct {
	Weir     any `yaml:"x-weir"` // what its services have in common
	Services map[string]struct {
		Image   string
		Command []string
		Build   struct{ Context, Dockerfile string }
		Devices []string
		CapAdd  []string `yaml:"cap_add"`
		Volumes []struct {
			Type, Source, Target string
			Bind                 struct {
				Propagation string
				Create      bool `yaml:"create_host_path"`
			}
		}
		SecurityOpt []string `yaml:"security_opt"`
		Restart     string
		Grace       string                                `yaml:"stop_grace_period"`
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	}
}

// The Compose file has no key that this does not know, weir takes its commands, and what the containers share lets each other
// see the mounts.
func TestCompose(t *testing.T) {
	f, err := os.Open("deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var c composed
	dec := yaml.NewDecoder(f)
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		t.Fatal(err)
	}
	shared := map[string][]string{} // who has a directory of the host, by its propagation
	for name, s := range c.Services {
		if len(s.Volumes) != 1 {
			t.Fatalf("%s has %d volumes", name, len(s.Volumes))
		}
		v := s.Volumes[0]
		shared[v.Source] = append(shared[v.Source], v.Bind.Propagation)
		if db := "/srv/app/data/db"; !strings.Contains(strings.Join(s.Command, " "), db) || !strings.HasPrefix(filepath.Dir(db), v.Target+"/") {
			t.Errorf("%s: %q does not use %s below its volume %s", name, s.Command, db, v.Target)
		}
		for other, d := range s.DependsOn {
			if c.Services[other].Command == nil || d.Condition != "service_healthy" {
				t.Errorf("%s depends on %s: %+v", name, other, d)
			}
		}
		if s.Image != "weir" {
			continue
		}
		requireCommand(t, name, s.Command)
		if !slices.Contains(s.Devices, "/dev/fuse") || !slices.Contains(s.CapAdd, "SYS_ADMIN") {
			t.Errorf("%s has the devices %q and capabilities %q", name, s.Devices, s.CapAdd)
		}
		if _, err := os.Stat(filepath.Join("deploy", s.Build.Context, s.Build.Dockerfile)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for dir, who := range shared {
		slices.Sort(who)
		if !slices.Equal(who, []string{"rshared", "rslave"}) {
			t.Errorf("%s is shared by %q", dir, who)
		}
	}
	if len(shared) != 2 {
		t.Errorf("got %d directories of the host, want the primary's and the replica's", len(shared))
	}
}

// requireCommand requires weir to take a container's command, as weir config check judges what it asks for.
func requireCommand(t *testing.T, name string, command []string) {
	t.Helper()
	if command[0] != "mount" {
		t.Fatalf("%s runs weir %q", name, command)
	}
	flags, err := parseMountFlags(command[1:], stdio{err: os.Stderr})
	if err != nil {
		t.Fatalf("%s: weir %q: %v", name, command, err)
	}
	conf, err := flags.load()
	if err != nil || len(conf.DBs) != 1 {
		t.Fatalf("%s: weir %q: %v", name, command, err)
	}
	n := newNode(t, name)
	upstream := ""
	if u := conf.DBs[0].Upstream; u != nil {
		upstream = fmt.Sprintf("    upstream:\n      url: %s\n      path: %s\n", u.URL, u.Path)
	}
	n.configure("dbs:\n  - path: %s\n%s", n.db, upstream)
	if out, stderr, err := tryWeir("config", "check", "-config", n.conf); err != nil {
		t.Errorf("%s: weir config check: %v\n%s%s", name, err, out, stderr)
	}
}

// podContainer is what is looked at of a container in kubernetes.yaml.
type podContainer struct {
	Name            string
	Args            []string
	SecurityContext struct{ Privileged bool } `yaml:"securityContext"`
	StartupProbe    struct {
		Exec struct{ Command []string }
	} `yaml:"startupProbe"`
	VolumeMounts []struct {
		Name        string
		Path        string `yaml:"mountPath"`
		Propagation string `yaml:"mountPropagation"`
	} `yaml:"volumeMounts"`
}

// Weir takes the commands of the pod, and its containers share the directory above the mount.
func TestKubernetes(t *testing.T) {
	data, err := os.ReadFile("deploy/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var pod struct {
		Spec struct {
			Weir       []podContainer `yaml:"initContainers"`
			Containers []podContainer
			Volumes    []struct{ Name string }
		}
	}
	if err := yaml.Unmarshal(data, &pod); err != nil {
		t.Fatal(err)
	}
	if len(pod.Spec.Weir) != 1 || len(pod.Spec.Containers) != 1 || len(pod.Spec.Volumes) != 1 {
		t.Fatalf("got %+v", pod)
	}
	weir, app := pod.Spec.Weir[0], pod.Spec.Containers[0]
	requireCommand(t, weir.Name, weir.Args)
	db := weir.Args[len(weir.Args)-1]
	if probe := weir.StartupProbe.Exec.Command; !slices.Equal(probe, []string{"weir", "status", "-db", db}) {
		t.Errorf("the probe is %q", probe)
	}
	if !weir.SecurityContext.Privileged {
		t.Error("weir is not privileged: Kubernetes does not allow Bidirectional then")
	}
	for _, c := range []struct {
		podContainer
		propagation string
	}{{weir, "Bidirectional"}, {app, "HostToContainer"}} {
		m := c.VolumeMounts[0]
		if m.Name != pod.Spec.Volumes[0].Name || m.Propagation != c.propagation || !strings.HasPrefix(filepath.Dir(db), m.Path+"/") {
			t.Errorf("%s: got %+v, want %s above %s", c.Name, m, c.propagation, filepath.Dir(db))
		}
	}
}

// The image is built with the Go that the module wants.
func TestDockerfile(t *testing.T) {
	dockerfile, err := os.ReadFile("deploy/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)
	if want := fmt.Sprintf("FROM golang:%s-", version[1]); !strings.Contains(string(dockerfile), want) {
		t.Errorf("the Dockerfile has no %s", want)
	}
}
