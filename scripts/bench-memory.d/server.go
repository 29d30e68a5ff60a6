// net/http with HTTP/2 in clear and its defaults: the paths of the lab's origin.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
)

func main() {
	piece := make([]byte, 65536)
	released := make(chan struct{})
	http.HandleFunc("/.lab/endless", func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	http.HandleFunc("/.lab/unread", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-released:
		case <-r.Context().Done():
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintln(w, n)
	})
	http.HandleFunc("/.lab/release", func(w http.ResponseWriter, r *http.Request) { close(released) })
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "done") })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	panic((&http.Server{Protocols: &protocols}).Serve(listener))
}
