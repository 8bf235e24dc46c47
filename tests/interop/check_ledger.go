// Checks one of our ledgers with Go's own implementation of transparency logs and signed notes
// (golang.org/x/mod/sumdb), which knows nothing of us: checkpoint, tiles, entries, receipt,
// consistency, and cosignatures by nothing but crypto/ed25519.
//
// Usage: check_ledger DIRECTORY ORIGIN LOG-VKEY RECEIPT LEAF OLD-CHECKPOINT CONSISTENCY WITNESS-VKEY...
// It prints one line of JSON and ends with 0, or says what is wrong and ends with 1.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// cosigner verifies cosignature/v1 lines (C2SP tlog-cosignature, type 0x04).
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }
func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 72 {
		return false
	}
	time := binary.BigEndian.Uint64(sig)
	text := fmt.Sprintf("cosignature/v1\ntime %d\n%s", time, msg)
	return ed25519.Verify(c.key, []byte(text), sig[8:])
}

func newCosigner(vkey string) cosigner {
	parts := strings.SplitN(vkey, "+", 3)
	key := decode(parts[2])
	if key[0] != 4 {
		log.Fatal("not a cosigner's vkey")
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	hash := binary.BigEndian.Uint32(sum[:4])
	if fmt.Sprintf("%08x", hash) != parts[1] {
		log.Fatal("the vkey's key id is another")
	}
	return cosigner{parts[0], hash, ed25519.PublicKey(key[1:])}
}

// files reads tiles from a directory as C2SP tlog-tiles lays them out: height 8, not in the path.
type files struct{ directory string }

func (f files) Height() int                          { return 8 }
func (f files) SaveTiles(_ []tlog.Tile, _ [][]byte) {}
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		name := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(f.directory, name))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func open(data []byte, origin string, verifiers ...note.Verifier) (tlog.Tree, int) {
	opened, err := note.Open(data, note.VerifierList(verifiers...))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != origin {
		log.Fatal("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	hash, err := tlog.ParseHash(lines[2])
	must(err)
	return tlog.Tree{N: size, Hash: hash}, len(opened.Sigs)
}

// entries reads all entries from the bundles.
func entries(directory string, size int64) [][]byte {
	var all [][]byte
	for at := int64(0); at < size; at += 256 {
		tile := tlog.Tile{H: 8, L: -1, N: at / 256, W: 256}
		if size-at < 256 {
			tile.W = int(size - at)
		}
		name := strings.Replace(tile.Path(), "tile/8/data/", "tile/entries/", 1)
		data := read(filepath.Join(directory, name))
		for len(data) > 0 {
			width := int(binary.BigEndian.Uint16(data))
			all = append(all, data[2:2+width])
			data = data[2+width:]
		}
	}
	return all
}

func checkAll(directory string, tree tlog.Tree) {
	reader := tlog.TileHashReader(tree, files{directory}) // believes no tile that does not hash up
	leaves := entries(directory, tree.N)
	if int64(len(leaves)) != tree.N {
		log.Fatal("the bundles do not have as many entries as the checkpoint says")
	}
	var indexes []int64
	for at := range leaves {
		indexes = append(indexes, tlog.StoredHashIndex(0, int64(at)))
	}
	hashes, err := reader.ReadHashes(indexes)
	must(err)
	for at, leaf := range leaves {
		if tlog.RecordHash(leaf) != hashes[at] {
			log.Fatalf("entry %d is not in its tile", at)
		}
	}
}

// checkReceipt reads a C2SP tlog-proof and verifies it for a leaf.
func checkReceipt(data, leaf []byte, origin string, directory string, keys []note.Verifier) int {
	head, signed, ok := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || lines[0] != "c2sp.org/tlog-proof@v1" {
		log.Fatal("not a tlog-proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	must(err)
	var proof tlog.RecordProof
	for _, line := range lines[2:] {
		hash, err := tlog.ParseHash(line)
		must(err)
		proof = append(proof, hash)
	}
	tree, signatures := open(signed, origin, keys...)
	must(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(leaf)))
	theirs, err := tlog.ProveRecord(tree.N, index, tlog.TileHashReader(tree, files{directory}))
	must(err)
	if fmt.Sprint(theirs) != fmt.Sprint(proof) {
		log.Fatal("Go proves the entry otherwise")
	}
	return signatures - 1
}

func checkConsistency(data []byte, older, newer tlog.Tree) {
	var proof tlog.TreeProof
	for _, line := range strings.Fields(string(data)) {
		hash, err := tlog.ParseHash(line)
		must(err)
		proof = append(proof, hash)
	}
	must(tlog.CheckTree(proof, newer.N, newer.Hash, older.N, older.Hash))
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 8 {
		log.Fatal("give DIRECTORY ORIGIN LOG-VKEY RECEIPT LEAF OLD-CHECKPOINT CONSISTENCY WITNESS-VKEY...")
	}
	directory, origin := os.Args[1], os.Args[2]
	key, err := note.NewVerifier(os.Args[3])
	must(err)
	tree, _ := open(read(filepath.Join(directory, "checkpoint")), origin, key)
	older, _ := open(read(os.Args[6]), origin, key)
	checkAll(directory, tree)
	checkConsistency(read(os.Args[7]), older, tree)
	keys := []note.Verifier{key}
	for _, vkey := range os.Args[8:] {
		keys = append(keys, newCosigner(vkey))
	}
	cosigned := checkReceipt(read(os.Args[4]), read(os.Args[5]), origin, directory, keys)
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"size": tree.N, "root": tree.Hash.String(), "older": older.N, "cosignatures": cosigned,
	}))
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	must(err)
	return data
}

func decode(text string) []byte {
	data, err := base64.StdEncoding.DecodeString(text)
	must(err)
	if len(data) != 33 {
		must(errors.New("not an Ed25519 key"))
	}
	return data
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
