// A small HTTP server on a free local port for tests: each request is given to a function that writes raw bytes back,
// so that it can misbehave in any way.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace lodestone_test {

/// A request as it came.
struct http_request {
  std::string line{};     ///< "POST /v1/completions HTTP/1.1"
  std::string headers{};  ///< as sent, each line ended by CRLF
  std::string body{};
  int number = 0;  ///< from 0, in the order of arrival
};

/// What a handler writes to.
class http_connection {
 public:
  http_connection(int socket, const std::atomic<bool>& is_over) : socket_(socket), is_over_(is_over) {}

  /// Writes all; a client that is gone is no failure.
  void send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  /// A whole response; `headers` are lines ended by CRLF.
  void reply(int status, const std::string& body,
             const std::string& headers = "Content-Type: application/json\r\n") const {
    send("HTTP/1.1 " + std::to_string(status) + " Status\r\n" + headers + "Content-Length: " +
         std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body);
  }

  /// Waits so long, or until the client has gone or the server ends; true: it is over.
  [[nodiscard]] bool wait(std::chrono::milliseconds time) const {
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) {
      if (is_over_) return true;
      pollfd state{socket_, POLLIN | POLLRDHUP, 0};
      if (::poll(&state, 1, 5) > 0 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) return true;
    }
    return is_over_;
  }

 private:
  int socket_;
  const std::atomic<bool>& is_over_;
};

/// Listens from its construction to its destruction; every connection has a thread and carries one request.
class http_server {
 public:
  using handler = std::function<void(const http_request&, http_connection&)>;

  explicit http_server(handler answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (listener_ < 0 || ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener_, 64) != 0 || ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error("no local port");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept(); });
  }
  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;
  ~http_server() {
    is_over_ = true;
    acceptor_.join();
    for (std::thread& one : workers_) one.join();
    ::close(listener_);
  }

  /// The base of an API below it.
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/v1"; }

  /// What came so far, in the order of arrival.
  [[nodiscard]] std::vector<http_request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void accept() {
    while (!is_over_) {
      pollfd state{listener_, POLLIN, 0};
      if (::poll(&state, 1, 10) <= 0) continue;
      const int socket = ::accept(listener_, nullptr, nullptr);
      if (socket >= 0) workers_.emplace_back([this, socket] { serve(socket); });
    }
  }

  void serve(int socket) {
    std::string text;
    http_request request;
    std::size_t head = std::string::npos, length = 0;
    char buffer[65'536];
    while (head == std::string::npos || text.size() < head + 4 + length) {
      pollfd state{socket, POLLIN, 0};
      if (::poll(&state, 1, 20) <= 0) {
        if (is_over_) break;
        continue;
      }
      const ssize_t count = ::recv(socket, buffer, sizeof buffer, 0);
      if (count <= 0) break;
      text.append(buffer, static_cast<std::size_t>(count));
      if (head != std::string::npos) continue;
      head = text.find("\r\n\r\n");
      if (head == std::string::npos) continue;
      const std::size_t line = text.find("\r\n");
      request.line = text.substr(0, line);
      request.headers = text.substr(line + 2, head - line);
      const std::size_t at = request.headers.find("Content-Length: ");
      if (at != std::string::npos) length = std::stoul(request.headers.substr(at + 16));
    }
    if (head != std::string::npos && text.size() >= head + 4 + length) {
      request.body = text.substr(head + 4);
      {
        const std::lock_guard lock(mutex_);
        request.number = static_cast<int>(requests_.size());
        requests_.push_back(request);
      }
      http_connection connection(socket, is_over_);
      answer_(request, connection);
    }
    // Data that was not read would make close() reset the connection: the client might lose what was sent.
    ::shutdown(socket, SHUT_WR);
    ::close(socket);
  }

  handler answer_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> is_over_{false};
  std::thread acceptor_;
  std::list<std::thread> workers_;
  mutable std::mutex mutex_;
  std::vector<http_request> requests_;
};

/// A local port that nothing listens on.
inline std::string refused_url() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (socket < 0 || ::bind(socket, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no local port");
  ::close(socket);
  return "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "/v1";
}

}  // namespace lodestone_test
