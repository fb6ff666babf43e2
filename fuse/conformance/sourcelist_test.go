package conformance

import "testing"

func TestSourceList(t *testing.T) {
	for _, tt := range []struct{ name, list, want string }{
		{"one line", "# deb is a word\ndeb http://host/debian stable main\n", "# deb is a word\ndeb-src http://host/debian stable main\n"},
		{"options and blanks", " deb\t[signed-by=/k.gpg arch=amd64]  http://host/debian stable main # as it is\n", "deb-src [signed-by=/k.gpg arch=amd64] http://host/debian stable main # as it is\n"},
		{"sources already", "deb-src http://host/debian stable main", "deb-src http://host/debian stable main"},
		{"deb822", "Types: deb\nURIs: http://host/debian\nSuites: stable\n\ntypes: deb deb-src\nURIs: http://host/security\n",
			"Types: deb-src\nURIs: http://host/debian\nSuites: stable\n\nTypes: deb-src\nURIs: http://host/security\n"},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := sourceList(tt.list); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}
