// SPDX-License-Identifier: Apache-2.0

// HTTP/1.1 client and server over Go's own TLS. Logs a JSON record per exchange.
//
// usage: gotls server LOG CERT KEY [WAY]
//
//	gotls client PORT COUNT CONNECTIONS [WAY]
//
// The server prints its port; it answers POST with the same body and GET /bytes/N with N bytes of the pattern, and
// logs before it answers. The client sends COUNT requests on each of CONNECTIONS connections at once and checks what
// comes back. WAY, where it is not the usual one (gotls_ways.go), is the same for both, but for "closed".
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const blockBytes = 65521

type record struct {
	Side          string `json:"side"`
	Pid           int    `json:"pid"`
	LocalPort     int    `json:"local_port"`
	RemotePort    int    `json:"remote_port"`
	Method        string `json:"method"`
	Target        string `json:"target"`
	RequestBytes  int    `json:"request_bytes"`
	RequestSha    string `json:"request_sha"`
	Status        int    `json:"status"`
	ResponseBytes int    `json:"response_bytes"`
	ResponseSha   string `json:"response_sha"`
}

var logLock sync.Mutex

func sha(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// The first size bytes of the pattern that programs/pattern.h makes.
func pattern(size int) []byte {
	out := make([]byte, size)
	state := uint32(1)
	for i := range out {
		if i >= blockBytes {
			out[i] = out[i-blockBytes]
			continue
		}
		state = (state*1103515245 + 12345) & 0x7fffffff
		out[i] = byte(state >> 16)
	}
	return out
}

func port(address string) int {
	_, text, err := net.SplitHostPort(address)
	check(err)
	number, err := strconv.Atoi(text)
	check(err)
	return number
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func (r record) write(out io.Writer) {
	line, err := json.Marshal(r)
	check(err)
	logLock.Lock()
	defer logLock.Unlock()
	_, err = out.Write(append(line, '\n'))
	check(err)
}

func answer(out io.Writer) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		check(err)
		response := body
		if strings.HasPrefix(request.URL.Path, "/bytes/") {
			size, err := strconv.Atoi(strings.TrimPrefix(request.URL.Path, "/bytes/"))
			check(err)
			response = pattern(size)
		}
		local := request.Context().Value(http.LocalAddrContextKey).(net.Addr)
		record{"server", os.Getpid(), port(local.String()), port(request.RemoteAddr), request.Method, request.RequestURI,
			len(body), sha(body), 200, len(response), sha(response)}.write(out)
		w.Header().Set("Content-Length", strconv.Itoa(len(response)))
		_, _ = w.Write(response) // clients may leave as they like
	}
}

func serve(logPath, certificate, key, way string) {
	out, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	check(err)
	pair, err := tls.LoadX509KeyPair(certificate, key)
	check(err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println(port(listener.Addr().String()))
	http1 := map[string]func(*http.Server, *tls.Conn, http.Handler){} // an empty map: no HTTP/2
	server := &http.Server{Handler: answer(out), TLSNextProto: http1}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	check(server.Serve(sessions{listener, func(conn net.Conn) net.Conn { return accepted(conn, config, way) }}))
}

// One connection; a client of its own never opens another.
func ask(serverPort, number, count int, way string) {
	var conn net.Conn
	config := &tls.Config{InsecureSkipVerify: true} // this is about bytes, not about trust
	transport := &http.Transport{MaxConnsPerHost: 1, DisableCompression: true}
	transport.DialTLSContext = func(_ context.Context, network, address string) (net.Conn, error) {
		raw, err := net.Dial(network, address)
		check(err)
		conn = opened(raw, config, way)
		return conn, nil
	}
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	for i := 0; i < count; i++ {
		target := fmt.Sprintf("/echo?go-%d-%d", number, i)
		body := pattern((i + 1) * 1777)
		if i > 0 && i == count-1 {
			body = pattern(1 << 20)
		}
		url := fmt.Sprintf("https://127.0.0.1:%d%s", serverPort, target)
		response, err := client.Post(url, "application/octet-stream", bytes.NewReader(body))
		check(err)
		got, err := io.ReadAll(response.Body)
		check(err)
		check(response.Body.Close())
		if !bytes.Equal(got, body) {
			log.Fatalf("%s: another body came back", target)
		}
		record{"client", os.Getpid(), port(conn.LocalAddr().String()), port(conn.RemoteAddr().String()), "POST", target,
			len(body), sha(body), response.StatusCode, len(got), sha(got)}.write(os.Stdout)
	}
	transport.CloseIdleConnections()
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	check(err)
	return value
}

func main() {
	arguments, way := os.Args[1:], ""
	if len(arguments) == 5 {
		arguments, way = arguments[:4], arguments[4]
	}
	switch {
	case len(arguments) == 4 && arguments[0] == "server":
		serve(arguments[1], arguments[2], arguments[3], way)
	case len(arguments) == 4 && arguments[0] == "client":
		var all sync.WaitGroup
		for i := 0; i < number(arguments[3]); i++ {
			all.Add(1)
			go func(i int) {
				defer all.Done()
				ask(number(arguments[1]), i, number(arguments[2]), way)
			}(i)
		}
		all.Wait()
	default:
		log.Fatal("usage: gotls server LOG CERT KEY [WAY] | gotls client PORT COUNT CONNECTIONS [WAY]")
	}
}
