// As client.go, with the HttpClient of Java's own library and its defaults: each POST offers an upgrade to HTTP/2.
// The time for which it keeps an idle connection is the property jdk.httpclient.keepalive.timeout.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

public class Client {
    static void post(HttpClient client, String url, String body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(url))
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofString(body))
            .build();
        HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            throw new IllegalStateException("status " + answer.statusCode() + " " + answer.body());
        }
    }

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0], body = arguments[1];
        int rounds = Integer.parseInt(arguments[2]);
        AtomicInteger answered = new AtomicInteger();
        List<String> faults = Collections.synchronizedList(new ArrayList<>());
        List<Thread> threads = new ArrayList<>();
        for (int place = 3; place < arguments.length; place++) {
            double idle = Double.parseDouble(arguments[place]);
            Thread thread = new Thread(() -> {
                HttpClient client = HttpClient.newHttpClient();
                for (int round = 0; round <= rounds; round++) {
                    try {
                        post(client, url, body);
                        answered.incrementAndGet();
                    } catch (Exception error) {
                        faults.add("after " + idle + "s: " + error);
                    }
                    try {
                        if (round < rounds) {
                            Thread.sleep((long) (idle * 1000));
                        }
                    } catch (InterruptedException error) {
                        return;
                    }
                }
            });
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
        StringBuilder shown = new StringBuilder("{\"answered\": " + answered + ", \"faults\": [");
        for (int place = 0; place < faults.size(); place++) {
            shown.append(place == 0 ? "\"" : ", \"");
            shown.append(faults.get(place).replace("\\", "/").replace("\"", "'").replace("\n", " ")).append("\"");
        }
        System.out.println(shown + "]}");
    }
}
