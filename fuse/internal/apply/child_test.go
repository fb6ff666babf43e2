package apply

func replicaMain(dir, payloads string) error { return nil }
