// Posts over connections that stay idle between two requests, each for as long as it is told.
//
// Arguments: the URL, the body, how long this client keeps an idle connection (seconds, 0: for ever), the header that
// lets a client ask again ("" for none), how many times over, and the idle times in seconds. Prints one JSON object.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

type outcomes struct {
	sync.Mutex
	Answered int      `json:"answered"`
	Faults   []string `json:"faults"`
}

func seconds(text string) time.Duration {
	value, err := strconv.ParseFloat(text, 64)
	if err != nil {
		panic(err)
	}
	return time.Duration(value * float64(time.Second))
}

func post(client *http.Client, url, body, key string) error {
	request, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if key != "" {
		request.Header.Set("Idempotency-Key", key)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != 200 {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	return nil
}

func main() {
	url, body, keep, key := os.Args[1], os.Args[2], seconds(os.Args[3]), os.Args[4]
	rounds, _ := strconv.Atoi(os.Args[5])
	found := outcomes{Faults: []string{}}
	var all sync.WaitGroup
	for place, text := range os.Args[6:] {
		all.Add(1)
		go func(place int, idle time.Duration) {
			defer all.Done()
			// A transport of its own: a connection of its own.
			client := &http.Client{Transport: &http.Transport{IdleConnTimeout: keep}}
			for round := 0; round <= rounds; round++ {
				name := key
				if name != "" {
					name = fmt.Sprintf("%s-%d-%d", key, place, round)
				}
				err := post(client, url, body, name)
				found.Lock()
				if err == nil {
					found.Answered++
				} else {
					found.Faults = append(found.Faults, fmt.Sprintf("after %s: %s", idle, err))
				}
				found.Unlock()
				if round < rounds {
					time.Sleep(idle)
				}
			}
		}(place, seconds(text))
	}
	all.Wait()
	json.NewEncoder(os.Stdout).Encode(&found)
}
