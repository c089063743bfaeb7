// Snapshot-rpc measures a snapshots service over its socket while it stores many snapshots.
//
//	go run . -address /run/imgd/snapshotter.sock [-count 20000] [-samples 2000] [-snapshotter bench]
//
// It fills the service with committed snapshots in chains of ten, then times one call after another:
// Prepare on a random parent, Stat, Commit and Remove; then List. At the end it removes what it made. The
// result is one JSON object with milliseconds.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

const chain = 10

// As a client that keeps its snapshots would; without it containerd collects them at once.
var labels = map[string]string{"containerd.io/gc.root": "2026-01-01T00:00:00Z"}

type figures struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

type report struct {
	Stored        int                `json:"stored"`
	Samples       int                `json:"samples"`
	Calls         map[string]figures `json:"calls"`
	ListFirst     float64            `json:"list_first"`
	ListAll       float64            `json:"list_all"`
	ListMessages  int                `json:"list_messages"`
	ListSnapshots int                `json:"list_snapshots"`
}

type bench struct {
	client      api.SnapshotsClient
	snapshotter string
	latencies   map[string][]time.Duration
}

func main() {
	log.SetFlags(0)
	address := flag.String("address", "", "socket of the snapshots service")
	snapshotter := flag.String("snapshotter", "bench", "name of the snapshotter in the requests")
	count := flag.Int("count", 20_000, "snapshots stored while measuring")
	samples := flag.Int("samples", 2_000, "calls of each kind")
	workers := flag.Int("workers", 4, "parallel chains while filling")
	flag.Parse()
	if *address == "" {
		log.Fatal("snapshot-rpc: -address is missing")
	}
	conn, err := grpc.NewClient("unix://"+*address,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	b := &bench{
		client:      api.NewSnapshotsClient(conn),
		snapshotter: *snapshotter,
		latencies:   map[string][]time.Duration{},
	}
	result, err := b.run(*count, *samples, *workers)
	if err != nil {
		log.Fatal(err)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(result); err != nil {
		log.Fatal(err)
	}
}

func (b *bench) run(count, samples, workers int) (*report, error) {
	ctx := metadata.AppendToOutgoingContext(context.Background(), "containerd-namespace", "bench")
	chains := (count + chain - 1) / chain
	if err := parallel(chains, workers, func(i int) error { return b.fill(ctx, i) }); err != nil {
		return nil, fmt.Errorf("filling: %w", err)
	}
	for i := range samples {
		if err := b.sample(ctx, i, chains); err != nil {
			return nil, err
		}
	}
	result := &report{Stored: chains * chain, Samples: samples, Calls: map[string]figures{}}
	for call, latencies := range b.latencies {
		slices.Sort(latencies)
		result.Calls[call] = figures{
			P50: millis(latencies[len(latencies)/2]),
			P99: millis(latencies[len(latencies)*99/100]),
			Max: millis(latencies[len(latencies)-1]),
		}
	}
	if err := b.list(ctx, result); err != nil {
		return nil, err
	}
	err := parallel(chains, workers, func(i int) error { return b.empty(ctx, i) })
	return result, err
}

func name(chain, layer int) string { return fmt.Sprintf("bench/%d/layer-%d", chain, layer) }

func (b *bench) fill(ctx context.Context, i int) error {
	parent := ""
	for layer := range chain {
		key := name(i, layer) + "-active"
		if err := b.prepare(ctx, key, parent); err != nil {
			return err
		}
		if err := b.commit(ctx, name(i, layer), key); err != nil {
			return err
		}
		parent = name(i, layer)
	}
	return nil
}

func (b *bench) empty(ctx context.Context, i int) error {
	for layer := chain - 1; layer >= 0; layer-- {
		if err := b.remove(ctx, name(i, layer)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) sample(ctx context.Context, i, chains int) error {
	key := fmt.Sprintf("bench/sample-%d", i)
	parent := name(rand.IntN(chains), rand.IntN(chain))
	committed := key + "-committed"
	return errors.Join(
		b.timed("Prepare", func() error { return b.prepare(ctx, key, parent) }),
		b.timed("Stat", func() error { return b.stat(ctx, key) }),
		b.timed("Commit", func() error { return b.commit(ctx, committed, key) }),
		b.timed("Remove", func() error { return b.remove(ctx, committed) }))
}

func (b *bench) list(ctx context.Context, result *report) error {
	start := time.Now()
	stream, err := b.client.List(ctx, &api.ListSnapshotsRequest{Snapshotter: b.snapshotter})
	if err != nil {
		return err
	}
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			result.ListAll = millis(time.Since(start))
			return nil
		}
		if err != nil {
			return err
		}
		if result.ListMessages == 0 {
			result.ListFirst = millis(time.Since(start))
		}
		result.ListMessages++
		result.ListSnapshots += len(message.Info)
	}
}

func (b *bench) timed(call string, do func() error) error {
	start := time.Now()
	err := do()
	b.latencies[call] = append(b.latencies[call], time.Since(start))
	if err != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return nil
}

func (b *bench) prepare(ctx context.Context, key, parent string) error {
	_, err := b.client.Prepare(ctx, &api.PrepareSnapshotRequest{
		Snapshotter: b.snapshotter, Key: key, Parent: parent, Labels: labels,
	})
	return err
}

func (b *bench) commit(ctx context.Context, name, key string) error {
	_, err := b.client.Commit(ctx, &api.CommitSnapshotRequest{
		Snapshotter: b.snapshotter, Name: name, Key: key, Labels: labels,
	})
	return err
}

func (b *bench) stat(ctx context.Context, key string) error {
	_, err := b.client.Stat(ctx, &api.StatSnapshotRequest{Snapshotter: b.snapshotter, Key: key})
	return err
}

func (b *bench) remove(ctx context.Context, key string) error {
	_, err := b.client.Remove(ctx, &api.RemoveSnapshotRequest{Snapshotter: b.snapshotter, Key: key})
	return err
}

func parallel(jobs, workers int, do func(int) error) error {
	queue := make(chan int, jobs)
	for i := range jobs {
		queue <- i
	}
	close(queue)
	failures := make([]error, workers)
	var group sync.WaitGroup
	for worker := range workers {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range queue {
				if failures[worker] = do(i); failures[worker] != nil {
					return
				}
			}
		}()
	}
	group.Wait()
	return errors.Join(failures...)
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
