// Package snapshotter drives containerd's published snapshotter suite through the socket of a
// snapshots service, as containerd's own proxy plugin would.
//
// Every case gets a view of its own: the request field "snapshotter" carries a name that was never
// used before. Run it as root:
//
//	go test -args -address /run/imgd/snapshotter.sock
//
// To check this program itself, run it against containerd's own socket with -view overlayfs, one case
// at a time (-parallel 1 before -args): there all cases share the one snapshotter of that name.
package snapshotter

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

var (
	address = flag.String("address", os.Getenv("IMGD_SNAPSHOTTER_ADDRESS"),
		"socket of the snapshots service (default $IMGD_SNAPSHOTTER_ADDRESS)")
	view = flag.String("view", "",
		"use this snapshotter for every case instead of a new one each time")
	// The suite leaves out the renaming of directories for the name "overlayfs": overlay mounts
	// without redirect_dir cannot do it, whoever made them.
	suite = flag.String("suite", "overlayfs", "the name the suite knows the snapshotter by")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *address == "" {
		fmt.Fprintln(os.Stderr, "no snapshots service: give -address or IMGD_SNAPSHOTTER_ADDRESS")
		os.Exit(2)
	}
	syscall.Umask(0) // the modes that the cases expect are those they ask for
	os.Exit(m.Run())
}

var views atomic.Int64

func TestSnapshotter(t *testing.T) {
	conn, err := grpc.NewClient("unix://"+*address,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	// The cases run in parallel, after this function has returned.
	t.Cleanup(func() { conn.Close() })
	client := snapshotsapi.NewSnapshotsClient(conn)

	testsuite.SnapshotterSuite(t, *suite,
		func(ctx context.Context, root string) (snapshots.Snapshotter, func() error, error) {
			name := *view
			if name == "" {
				name = fmt.Sprintf("conformance-%d-%d", os.Getpid(), views.Add(1))
			}
			snapshotter := proxy.NewSnapshotter(client, name)
			return snapshotter, func() error { return empty(ctx, snapshotter) }, nil
		})
}

// empty removes what a case left, children before parents, so that nothing stays behind in the service.
func empty(ctx context.Context, snapshotter snapshots.Snapshotter) error {
	if _, ok := namespaces.Namespace(ctx); !ok {
		ctx = namespaces.WithNamespace(ctx, "testsuite")
	}
	for {
		var keys []string
		err := snapshotter.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
			keys = append(keys, info.Name)
			return nil
		})
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			break
		}
		removed := 0
		var kept []error
		for _, key := range keys {
			switch err := snapshotter.Remove(ctx, key); {
			case err == nil || errdefs.IsNotFound(err):
				removed++
			case errdefs.IsFailedPrecondition(err) && strings.Contains(err.Error(), "remove"):
				kept = append(kept, fmt.Errorf("%s: %w", key, err))
			default:
				return fmt.Errorf("%s: %w", key, err)
			}
		}
		if removed == 0 {
			return errors.Join(kept...)
		}
	}
	if cleaner, ok := snapshotter.(snapshots.Cleaner); ok {
		if err := cleaner.Cleanup(ctx); err != nil && !errdefs.IsNotImplemented(err) {
			return err
		}
	}
	return nil
}
