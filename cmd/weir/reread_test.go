package main

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"weir/stream"
)

// startSecurePair starts a primary and a replica of it that has what it needs.
func startSecurePair(t *testing.T) (*secureNode, *node) {
	t.Helper()
	primary := newSecureNode(t)
	primary.start()
	replica := newNode(t, "replica")
	primary.followSecurely(replica)
	replica.start()
	shell(t, primary.db, auditSchema+auditStep)
	awaitEqual(t, primary.node, replica)
	return primary, replica
}

// Tokens are renewed while weir runs; a bad file changes nothing.
func TestRenewedTokens(t *testing.T) {
	t.Parallel()
	primary, replica := startSecurePair(t)
	const renewed = "another-token-of-the-replica-0123"
	answers := func(token string, want int) {
		t.Helper()
		primary.eventually(fmt.Sprint("answer ", want), func() error {
			if got, _, body := primary.answer(token, "/status"); got != want {
				return fmt.Errorf("got %d %s", got, body)
			}
			return nil
		})
	}
	answers(replicaToken, 200)
	writeFile(t, primary.tokens, "\n")
	primary.awaitLog("can't read the changed tokens")
	answers(replicaToken, 200)
	// Both at first, so that replicas can change theirs, then only the new one. Its stream goes on.
	writeFile(t, primary.tokens, replicaToken+"\n"+renewed+"\n")
	answers(renewed, 200)
	writeFile(t, primary.tokens, renewed+"\n")
	answers(replicaToken, 401)
	primary.awaitLog("may not read the database any more")
	replica.awaitLog("does not know this replica's token")
	writeFile(t, filepath.Join(replica.work, "token"), renewed)
	goesOn(t, primary, replica)
}

// Certificates and authorities are renewed while weir runs; a bad file changes nothing.
func TestRenewedCertificates(t *testing.T) {
	t.Parallel()
	primary, replica := startSecurePair(t)
	// A key that does not belong to the certificate, then the certificate, too.
	serial := func() string {
		t.Helper()
		c, err := tls.Dial("tcp", primary.addr, clientOf(t, primary.client))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	next := primary.ca.sign("next", primary.ip(), soon())
	copyFile(t, next.Key, primary.files.Key)
	primary.eventually("that it sees the change", func() error {
		if got := serial(); got != before {
			return fmt.Errorf("got serial %s, want that before", got)
		}
		if !strings.Contains(primary.logged(), "can't read the changed certificate") {
			return fmt.Errorf("it is not in the log")
		}
		return nil
	})
	copyFile(t, next.Cert, primary.files.Cert)
	primary.eventually("the new certificate", func() error {
		if serial() == before {
			return fmt.Errorf("it is the old one")
		}
		return nil
	})

	// Another authority for clients: the stream ends, until the replica has a certificate of it.
	second := newAuthority(t, "second")
	copyFile(t, second.file, primary.files.CA)
	replica.awaitLog("upstream asks for a certificate, and takes none or not this one")
	if resp, err := primary.ask(primary.client, replicaToken, "/status"); err == nil {
		resp.Body.Close()
		t.Errorf("got %s with a certificate of the authority before", resp.Status)
	}
	client := second.sign("replica", "127.0.0.1", soon())
	copyFile(t, client.Cert, primary.client.Cert)
	copyFile(t, client.Key, primary.client.Key)
	goesOn(t, primary, replica)
}

// goesOn makes a transaction and waits until the replica has it.
func goesOn(t *testing.T, primary *secureNode, replica *node) {
	t.Helper()
	replica.awaitStatus("that it is connected", func(st stream.Status) bool { return st.Connected })
	shell(t, primary.db, auditStep)
	awaitEqual(t, primary.node, replica)
}
