// SPDX-License-Identifier: Apache-2.0

// How programs can use a tls.Conn. WAY is
//
//	inside  nobody asks for the handshake: the first Read or Write makes it
//	twice   TLS in TLS, as through a proxy that is spoken to over TLS: a Read inside a Read
//	closed  server: another goroutine closes the session before the Write of the response returns
package main

import (
	"crypto/tls"
	"log"
	"net"
)

// A listener whose connections are made into others.
type sessions struct {
	net.Listener
	wrap func(net.Conn) net.Conn
}

func (s sessions) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return s.wrap(conn), nil
}

// Hides from net/http that it is a tls.Conn.
type hidden struct{ net.Conn }

// The connection below a session that is closed when a response is out.
type closing struct {
	net.Conn
	session *tls.Conn
	isReady bool
}

func (c *closing) Write(data []byte) (int, error) {
	n, err := c.Conn.Write(data)
	if c.isReady {
		closed := make(chan error)
		go func() { closed <- c.session.Close() }()
		<-closed
	}
	return n, err
}

func closedInside(conn net.Conn, config *tls.Config) net.Conn {
	config = config.Clone()
	config.DynamicRecordSizingDisabled = true // the response in one record
	below := &closing{Conn: conn}
	below.session = tls.Server(below, config)
	check(below.session.Handshake())
	below.isReady = true
	return below.session
}

func accepted(conn net.Conn, config *tls.Config, way string) net.Conn {
	switch way {
	case "":
		return tls.Server(conn, config)
	case "inside":
		return hidden{tls.Server(conn, config)}
	case "twice":
		return tls.Server(tls.Server(conn, config), config)
	case "closed":
		return closedInside(conn, config)
	}
	log.Fatalf("no way %q", way)
	return nil
}

func opened(conn net.Conn, config *tls.Config, way string) net.Conn {
	switch way {
	case "inside":
		return hidden{tls.Client(conn, config)}
	case "twice":
		return tls.Client(tls.Client(conn, config), config)
	}
	session := tls.Client(conn, config)
	check(session.Handshake())
	return session
}
