// Lists through links in their nodes: nothing is allocated, and a node is removed without a search.
#pragma once

namespace dskvs {

template <typename Node>
struct Links {
  Node* previous;
  Node* next;
};

// Does not own its nodes. Not thread-safe.
template <typename Node, Links<Node> Node::*kLinks>
class List {
 public:
  bool empty() const { return first_ == nullptr; }
  Node* first() const { return first_; }
  Node* last() const { return last_; }

  void push_first(Node* node) {
    node->*kLinks = {nullptr, first_};
    (first_ != nullptr ? (first_->*kLinks).previous : last_) = node;
    first_ = node;
  }
  void push_last(Node* node) {
    node->*kLinks = {last_, nullptr};
    (last_ != nullptr ? (last_->*kLinks).next : first_) = node;
    last_ = node;
  }
  void remove(Node* node) {
    const auto [previous, next] = node->*kLinks;
    (previous != nullptr ? (previous->*kLinks).next : first_) = next;
    (next != nullptr ? (next->*kLinks).previous : last_) = previous;
  }
  // nullptr: there is none.
  Node* pop_first() {
    Node* node = first_;
    if (node != nullptr) remove(node);
    return node;
  }

 private:
  Node* first_ = nullptr;
  Node* last_ = nullptr;
};

}  // namespace dskvs
